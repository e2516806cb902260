"""A curl line sends the original request: a shell parses it."""

import json
import os
import random
import shutil
import subprocess
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest
from example_targets import SECRETS, make_target
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.curl import ShellNames, curl
from knouds_harness.exchange.evidence import Request
from knouds_harness.targets.secrets import Secret

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")

# A function named curl that prints how many arguments it got, and which, and then its standard input.
FAKE_CURL = """curl() { printf '%s\\0' "$#" "$@"; case "$*" in *'--data-binary @-') cat;; esac; }; """


def line_for(request: Request, key: str | None = None) -> str:
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    with Client(target=make_target(), transport=transport) as client:
        sent = None if key is None else Secret(key, "key:sent")
        return curl(client.send(replace(request, is_deliberate=True), key=sent), ShellNames.of(client.target))


def take_apart(line: str) -> tuple[list[str], bytes]:
    """Return the arguments that a shell hands to curl, and its standard input."""
    shown = subprocess.run(
        ["/bin/sh", "-c", FAKE_CURL + line],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "KNOUDS_KEY_FULL": SECRETS["full"]},
    ).stdout
    count, _, rest = shown.partition(b"\0")
    *arguments, piped = rest.split(b"\0", int(count))
    return [argument.decode() for argument in arguments], piped


def test_shell_inserts_the_key():
    line = line_for(Request(method="HEAD", path="/api/whoami", persona="full"))

    arguments, _ = take_apart(line)

    assert line == (
        "curl -sS -i --noproxy '*' --head https://staging.example.com/api/whoami -H "
        '"x-api-key: ${KNOUDS_KEY_FULL}"'
    )
    assert arguments[-1] == f"x-api-key: {SECRETS['full']}"


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        (Request(method="GET", path="/", persona="full"), "-H 'x-api-key;'"),  # the key is empty
        (Request(method="POST", path="/", body=b"{}"), "-H 'content-type:'"),  # curl would add one
        (Request(method="GET", path="/api/%2e%2e/..x"), "--path-as-is"),  # curl would resolve dots
    ],
)
def test_curl_adds_and_changes_nothing(request_, part):
    assert part in line_for(request_, key="")


@settings(max_examples=25)
@given(body=st.binary(max_size=60).filter(lambda body: b"knouds_live_" not in body.lower()))
@example(body=b"")
@example(body=b"@/etc/passwd")
@example(body=b'it\'s 100 %\\n $HOME `id` ! "quoted"')
@example(body=b"\0\xff\n")
@example(body=b"-\0")
@example(body=b"keys begin with knouds_live_")
@example(body='{"name": "Lichtmaß"}'.encode())
@example(body=b'{"text": "' + b"ab" * 700_000 + b'", "list": ' + b"[" * 9_000 + b"]" * 9_000 + b"}")
@example(body=b"'-'" + b"\\%" * 5_000 + b"a-" * 9_000 + b"\0")
def test_any_body_survives_the_shell(body: bytes):
    request = Request(method="POST", path="/api/x", body=body)

    line = line_for(request)

    assert "\n" not in line
    arguments, piped = take_apart(line)
    sent = piped if arguments[-2:] == ["--data-binary", "@-"] else arguments[-1].encode()
    assert sent == body


@settings(max_examples=25)
@given(
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)
    .map(str.strip)
    .filter(lambda value: "knouds_live_" not in value.lower())  # with the key, it would be another key
)
@example(value='it\'s $HOME `id` "x" \\ !')
def test_any_header_survives_the_shell(value: str):
    headers = (("x-note", f"{value}{SECRETS['full']}"),)

    arguments, _ = take_apart(line_for(Request(method="GET", path="/", headers=headers)))

    assert f"x-note: {value}{SECRETS['full']}" in arguments


def test_placeholders_sent_by_a_server_stay_text():
    """In path, query and body, they are not replaced by a key; a key that was in the query is."""
    forged = "{{key:full}}/{{$PATH}}/{{key:read-only}}/{{hidden}}"
    request = Request(
        method="POST",
        path=f"/api/{forged}",
        query=(("offset", forged), ("api_key", SECRETS["full"])),
        body=json.dumps({"text": forged}).encode(),
        persona="full",
    )

    arguments, _ = take_apart(line_for(request))

    (url,) = [each for each in arguments if each.startswith("https:")]
    path, _, query = url.partition("?")
    assert path == f"https://staging.example.com/api/{quote(forged, safe='/:$')}"
    assert query == f"offset={quote(forged, safe='')}&api_key={SECRETS['full']}"
    assert json.loads(arguments[-1]) == {"text": forged}


def test_long_body_is_not_in_the_line():
    body = random.Random(1).randbytes(1_000_000)
    line = line_for(Request(method="POST", path="/", body=body))

    assert len(line) < 300
    assert "1000000 bytes: exchanges.har, x00001" in line
