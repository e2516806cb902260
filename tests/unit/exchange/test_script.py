"""The script of a sequence sends the same requests in order, with the ids that the server gives this time."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from run_records import exchange

from knouds_harness.exchange.curl import ShellNames
from knouds_harness.exchange.script import parts_of, script

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")

BASE = "https://staging.example.com"
# A curl that prints its request, and answers like a server whose slugs differ from those of the run.
FAKE_CURL = r"""#!/bin/sh
sent="" is_next_body="" method=GET is_next_method="" secret=""
for word in "$@"; do
  [ -n "$is_next_body" ] && sent=$word
  [ -n "$is_next_method" ] && method=$word
  is_next_body="" is_next_method=""
  case $word in
    --data-raw) is_next_body=yes;;
    -X) is_next_method=yes;;
    http*) url=$word;;
    x-sandbox-token:*|x-api-key:*) secret=$word;;
  esac
done
echo "$method $url $sent${ANSWER:+ $secret}" >> "$SENT"
number=$(wc -l < "$SENT" | tr -d ' ')
[ -n "$ANSWER" ] && printf 'HTTP/1.1 200 OK\r\n\r\n%s' "$ANSWER" && exit
printf 'HTTP/1.1 200 OK\r\n\r\n{"nodes": [{"slug": "inner"}], "slug": "h-0123456789ab-%s"}' "$number"
"""


NAMES = ShellNames(
    base_url=BASE,
    base_url_variable="STAGING_URL",
    variable_by_label={"key:full": "STAGING_KEY", "control-token": "STAGING_TOKEN"},
)


def minting(number, path, sent, body):
    shown = exchange(number, "createWorkflow", status=201, sent=sent, body=body, persona=None)
    path = f"/__sandbox__/{path}"
    request = replace(shown.request, path=path, operation_id=None)
    headers = (("x-sandbox-token", "{{control-token}}"), ("content-type", "application/json"))
    return replace(shown, url=f"{BASE}{path}", request=request, sent_headers=headers)


def on(number, operation_id, slug, **options):
    shown = exchange(number, operation_id, **options)
    url = shown.url.replace("portrait", slug)
    path = shown.request.path.replace("portrait", slug)
    request = replace(shown.request, path=path, path_values={"slug": slug})
    return replace(shown, url=url, request=request)


def created(number, slug, **options):
    """Make a create and its response, whose nodes have slugs too."""
    body = {"nodes": [{"slug": "inner"}], "slug": slug}
    return exchange(
        number, "createWorkflow", status=201, sent={"name": "Harness 0123456789ab"}, body=body, **options
    )


def sent_by(text, tmp_path, *, fails=False, **environment):
    """Run a script, which succeeds or fails; return the requests of its curl, and the finished shell."""
    (tmp_path / "curl").write_text(FAKE_CURL)
    (tmp_path / "curl").chmod(0o755)
    sent = tmp_path / "sent"
    sent.touch()
    process = subprocess.run(
        ["/bin/sh", "-c", text],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SENT": str(sent),
            "KNOUDS_OTHER_FULL": "a-key",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert bool(process.returncode) == fails, process.stderr
    return sent.read_text().splitlines(), process


def test_unproven_workflow_is_not_deleted(tmp_path):
    """The slug in the run, and the slug in the script, must show the name."""
    alien = [created(1, "portrait"), on(2, "getWorkflow", "portrait")]
    own = [created(1, "h-0123456789ab"), on(2, "getWorkflow", "h-0123456789ab")]

    text = script(alien, shows="")
    sent, _ = sent_by(script(own, shows="").replace("*0123456789ab*", "*ba9876543210*"), tmp_path)

    assert "DELETE" not in text
    assert [line.partition(" ")[0] for line in sent] == ["POST", "GET"]


def test_slug_with_another_slug_as_its_prefix_is_kept_apart(tmp_path):
    steps = [
        created(1, "h-0123456789ab"),
        created(2, "h-0123456789ab-2"),
        on(3, "getWorkflow", "h-0123456789ab-2"),
    ]

    sent, _ = sent_by(script(steps, shows="a fact"), tmp_path)

    assert sent[2:] == [
        f"GET {BASE}/api/workflows/h-0123456789ab-2 ",
        f"DELETE {BASE}/api/workflows/h-0123456789ab-1 ",
        f"DELETE {BASE}/api/workflows/h-0123456789ab-2 ",
    ]


def test_missing_key_is_reported_before_anything_is_sent(tmp_path):
    steps = [created(1, "h-0123456789ab", persona="other"), on(2, "getWorkflow", "h-0123456789ab")]

    sent, process = sent_by(script(steps, shows=""), tmp_path, fails=True)

    assert sent == []
    assert "KNOUDS_OTHER_OTHER: export it first" in process.stderr


def test_placeholders_sent_by_a_server_stay_text(tmp_path):
    """Text of a server that is sent back reads no variable of the environment."""
    forged = "{{$AWS_SECRET}} {{key:other}} {{key:full}} {{header:x-gateway}} {{control-token}} ${AWS_SECRET}"
    steps = [
        created(1, "h-0123456789ab"),
        on(2, "updateWorkflow", "h-0123456789ab", sent={"slug": "h-0123456789ab", "nodes": forged}),
    ]
    names = replace(NAMES, variable_by_label={"key:full": "STAGING_KEY", "header:x-gateway": "GATEWAY"})

    sent, process = sent_by(
        script(steps, shows=forged, names=names),
        tmp_path,
        **dict.fromkeys(("AWS_SECRET", "GATEWAY", "KNOUDS_KEY_OTHER", "KNOUDS_OTHER_OTHER"), "s3cret"),
        STAGING_KEY="my-key",
    )

    assert "s3cret" not in "".join(sent) + process.stdout
    assert forged in sent[1]
    assert "my-key" not in sent[1]


CREATED_ALONE = replace(created(1, "h-0123456789ab"), body=b'{"slug": "h-0123456789ab"}')


def test_response_without_the_slug_ends_the_script(tmp_path):
    steps = [CREATED_ALONE, on(2, "getWorkflow", "h-0123456789ab")]
    text = script(steps, shows="").replace("given slug 1", "given nosuch 1")

    sent, _ = sent_by(text, tmp_path, fails=True)

    assert len(sent) == 1


@pytest.mark.parametrize("slug", ["mine?h-0123456789ab", "../mine/0123456789ab", "mine#0123456789ab"])
def test_slug_that_could_change_the_path_ends_the_script(tmp_path, slug):
    """A server may answer a slug that leads to another workflow."""
    steps = [CREATED_ALONE, on(2, "deleteWorkflow", "h-0123456789ab")]

    sent, _ = sent_by(script(steps, shows=""), tmp_path, fails=True, ANSWER=json.dumps({"slug": slug}))

    assert len(sent) == 1


def test_text_of_a_server_stays_in_its_comment(tmp_path):
    steps = [created(1, "h-0123456789ab"), on(2, "getWorkflow", "h-0123456789ab")]

    sent, _ = sent_by(script(steps, shows="observed \nEND\necho $(touch pwned) \x1b[31m`id`"), tmp_path)

    assert len(sent) == 3


@pytest.mark.parametrize(
    ("operation", "status", "after_s", "pause"),
    [
        ("getExecution", "processing", 1.2, ["1.2"]),
        ("getExecution", "processing", 45, ["10.0"]),
        ("getExecution", "completed", 45, ["45.0"]),
        ("getWhoami", "", 45, []),
    ],
)
def test_script_waits_before_a_poll_as_the_run_did(operation, status, after_s, pause):
    """Longer for the end of an execution, as no poll in between is sent; not before other requests."""
    first = exchange(1, "runModel", status=202, body={"executionId": "e"})
    later = exchange(2, operation, body={"status": status})
    later = replace(later, started_at=first.started_at + timedelta(seconds=after_s))

    assert re.findall("\nsleep (.*)\n", script([first, later], shows="")) == pause


def test_concurrent_requests_are_sent_concurrently(tmp_path):
    """In the background; responses are printed with their numbers, and slugs are known afterwards."""
    twins = [replace(created(number, f"h-0123456789ab-{number}"), elapsed_ms=9_000.0) for number in (1, 2, 3)]
    later = replace(
        on(4, "getWorkflow", "h-0123456789ab-2"), started_at=twins[0].started_at + timedelta(seconds=60)
    )
    text = script([*twins, later], shows="")

    sent, _ = sent_by(text, tmp_path)

    assert text.count(" &\n") == 3
    assert text.index(" &\n") < text.index("\nwait\n") < text.index("--- 1. createWorkflow")
    assert [line.partition(" ")[0] for line in sent] == ["POST"] * 3 + ["GET"] + ["DELETE"] * 3
    assert '-X DELETE "${base}/api/workflows/${slug3}"' in text


def test_repeated_request_is_a_loop(tmp_path):
    """One curl fills a window by requesting one URL that many times."""
    runs = [exchange(number, "runWorkflow", sent={"inputs": {}}) for number in range(1, 99)]
    over = exchange(99, "runWorkflow", status=429, sent={"inputs": {}})
    text = script([*runs, over], shows="")

    sent, _ = sent_by(text, tmp_path)

    assert sent == [
        f'POST {BASE}/api/workflows/portrait/run#[1-98] {{"inputs": {{}}}}',
        f'POST {BASE}/api/workflows/portrait/run {{"inputs": {{}}}}',
    ]


def test_minted_key_is_minted_again(tmp_path):
    """The script sends the new key, of a new account, that the control plane returns."""
    opened = minting(1, "accounts", {"tier": "free"}, {"account": "account-1"})
    minted = minting(2, "keys", {"account": "account-1"}, {"name": "minted-1", "secret": "{{key:minted-1}}"})
    asked = exchange(3, "getWhoami", persona="minted-1")
    text = script([opened, minted, asked], shows="", names=NAMES)

    answers = '{"account": "account-2", "secret": "fresh-key"}'
    sent, _ = sent_by(text, tmp_path, STAGING_TOKEN="t", STAGING_KEY="k", ANSWER=answers)

    assert sent == [
        f'POST {BASE}/__sandbox__/accounts {{"tier": "free"}} x-sandbox-token: t',
        f'POST {BASE}/__sandbox__/keys {{"account": "account-2"}} x-sandbox-token: t',
        f"GET {BASE}/api/whoami  x-api-key: fresh-key",
    ]


def test_overlapping_requests_are_concurrent():
    """Others are sent one by one; too many concurrent ones for a shell are a loop."""
    runs = [exchange(number, "runWorkflow") for number in range(1, 31)]
    slow = [replace(each, elapsed_ms=60_000.0) for each in runs]
    apart = [
        replace(each, started_at=each.started_at + timedelta(seconds=n)) for n, each in enumerate(runs[:3])
    ]

    assert [(len(part.steps), part.is_at_once) for part in parts_of(slow[:8])] == [(8, True)]
    assert [(len(part.steps), part.is_at_once) for part in parts_of(slow)] == [(30, False)]
    assert [len(part.steps) for part in parts_of(apart)] == [1, 1, 1]
