"""No secret survives anywhere in an exchange, nor in what is made of it."""

import json
from urllib.parse import quote

import httpx
import pytest
from example_targets import SECRETS, make_target
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.har import to_entry
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.reproduction import curl
from knouds_harness.target.personas import Secret

FULL = SECRETS["full"]

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
secrets = st.sampled_from(sorted(SECRETS.values()))
places = st.sampled_from(["path", "query", "header", "body", "key", "nowhere"])
spellings = st.sampled_from([str, str.upper, str.lower, str.swapcase])


def everything_shown(exchange) -> str:
    """All that anybody could write of an exchange."""
    return "\n".join(
        [repr(exchange), json.dumps(to_entry(exchange)), curl(exchange), exchange.body.decode("latin-1")]
    )


def send(answer: httpx.Response, request: Request, key: str | None = None):
    with Client(target=make_target(), transport=httpx.MockTransport(lambda _: answer)) as client:
        return client.send(request, key=key)


@given(secret=secrets, place=places, before=text, after=text, spell=spellings, echo=st.booleans())
@example(secret=FULL, place="body", before='"', after="\\", spell=str, echo=True)
def test_no_secret_survives(*, secret: str, place: str, before: str, after: str, spell, echo: bool):
    """Whatever secret stands wherever, in whatever case, sent or echoed: nothing shown holds it."""
    wrapped = f"{before}{spell(secret)}{after}"
    request = Request(
        method="POST",
        path=f"/api/{quote(wrapped, safe='')}" if place == "path" else "/api/x",
        query=((wrapped, wrapped),) if place == "query" else (),
        headers=(("x-note", quote(before) + spell(secret)),) if place == "header" else (),
        body=json.dumps({"note": wrapped}).encode() if place == "body" else None,
        persona="full",
        path_values={"slug": wrapped} if place == "path" else {},
        action=Action.READ,
    )
    answer = httpx.Response(
        200,
        headers={"x-echo": spell(secret)} if echo else {},
        content=json.dumps({"echo": wrapped}).encode() if echo else b"{}",
    )

    exchange = send(answer, request, key=spell(secret) if place == "key" else None)

    shown = everything_shown(exchange).lower()
    for each in SECRETS.values():
        assert each.lower() not in shown
        assert quote(each, safe="").lower() not in shown
        assert json.dumps(each)[1:-1].lower() not in shown


@given(
    secret=secrets,
    start=st.integers(0, 20),
    length=st.integers(12, 60),
    spell=spellings,
    affix=st.text("abc123_-", max_size=5),
)
def test_no_tampered_key_gives_the_secret_away(secret: str, start: int, length: int, spell, affix: str):
    """A key that was cut, prolonged or spelt otherwise is hidden like the whole one, also where echoed."""
    key = spell(secret[start : start + length]) + affix
    answer = httpx.Response(401, json={"error": f"unknown key {key}", "code": "UNAUTHORIZED"})
    request = Request(method="GET", path="/api/whoami", persona="full", action=Action.READ)

    exchange = send(answer, request, key=key)

    shown = everything_shown(exchange).lower()
    fragment = secret.lower().removeprefix("knouds_live_")
    pieces = {fragment[i : i + 8] for i in range(len(fragment) - 7)}
    assert not [piece for piece in pieces if piece in shown]


def test_known_key_gets_its_persona_s_pseudonym():
    """Readers see whose key it was."""
    answer = httpx.Response(200, json={"you sent": FULL, "and": SECRETS["read-only"]})

    exchange = send(answer, Request(method="GET", path="/", persona="full", action=Action.READ))

    assert exchange.json() == {"you sent": "{{key:full}}", "and": "{{key:read-only}}"}


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("", ""),
        ("not-a-key", "not-a-key"),
        ("knouds_live_madeup", "{{key:unknown}}"),
        (FULL, "{{key:full}}"),
        (FULL.swapcase(), "{{key:altered}}"),
        (FULL[:-1], "{{key:altered}}"),
        (FULL + "x", "{{key:altered}}"),
        (FULL.removeprefix("knouds_live_"), "{{key:altered}}"),
    ],
)
def test_replaced_key_is_shown_for_what_it_is(key: str, shown: str):
    """What holds no secret is shown as sent; what does says so."""
    exchange = send(
        httpx.Response(401), Request(method="GET", path="/", persona="full", action=Action.READ), key=key
    )

    assert dict(exchange.sent_headers)["x-api-key"] == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"Bearer {FULL}", "Bearer {{key:full}}"),
        ("Bearer abc.def", "Bearer {{hidden}}"),
        ("c2VjcmV0", "{{hidden}}"),
    ],
)
def test_authorization_is_always_hidden(value: str, shown: str):
    """Whatever it holds."""
    request = Request(method="GET", path="/", headers=(("Authorization", value),), action=Action.READ)

    exchange = send(httpx.Response(401), request)

    assert dict(exchange.sent_headers)["Authorization"] == shown
    assert exchange.request.headers == (("Authorization", shown),)


def test_cookies_of_the_answer_are_hidden():
    """A session of the server's is a secret too."""
    answer = httpx.Response(200, headers={"set-cookie": "sid=abcdef; Path=/"})

    exchange = send(answer, Request(method="GET", path="/", action=Action.READ))

    assert exchange.header("set-cookie") == "{{hidden}}"


def test_body_without_secrets_is_the_same_bytes():
    """Redaction changes nothing else, not even invalid UTF-8."""
    body = bytes(range(256))

    assert Redactor([Secret(FULL, "key:full")]).content(body) is body


def test_prefix_alone_is_no_secret():
    """A server may say what keys begin with."""
    assert Redactor().text("keys begin with knouds_live_") == "keys begin with knouds_live_"


def test_secret_added_later_is_hidden_from_then_on():
    """Minted keys are secrets too."""
    redactor = Redactor()

    redactor.add(Secret(FULL, "key:minted-1"))

    assert redactor.text(f"<{FULL}>") == "<{{key:minted-1}}>"
