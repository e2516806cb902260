"""No secret is left in an exchange, or in anything made of it, in any encoding or several nested ones."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest
from example_targets import SECRETS, make_target
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.curl import curl
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.har import to_entry
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.targets.secrets import Secret

FULL = SECRETS["full"]

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
secrets = st.sampled_from(sorted(SECRETS.values()))
places = st.sampled_from(["path", "query", "header", "body", "key", "nowhere"])
spellings = st.sampled_from([str, str.upper, str.lower, str.swapcase])


def everything_shown(exchange) -> str:
    """Join all that is written of an exchange."""
    return "\n".join(
        [repr(exchange), json.dumps(to_entry(exchange)), curl(exchange), exchange.body.decode("latin-1")]
    )


def send(answer: httpx.Response, request: Request, key: str | None = None):
    with Client(target=make_target(), transport=httpx.MockTransport(lambda _: answer)) as client:
        sent = None if key is None else Secret(key, "key:sent")
        return client.send(replace(request, is_deliberate=True), key=sent)


@given(secret=secrets, place=places, before=text, after=text, spell=spellings, echo=st.booleans())
@example(secret=FULL, place="body", before='"', after="\\", spell=str, echo=True)
def test_no_secret_survives(*, secret: str, place: str, before: str, after: str, spell, echo: bool):
    wrapped = f"{before}{spell(secret)}{after}"
    request = Request(
        method="POST",
        path=f"/api/{quote(wrapped, safe='')}" if place == "path" else "/api/x",
        query=((wrapped, wrapped),) if place == "query" else (),
        headers=(("x-note", quote(before) + spell(secret)),) if place == "header" else (),
        body=json.dumps({"note": wrapped}).encode() if place == "body" else None,
        persona="full",
        path_values={"slug": wrapped} if place == "path" else {},
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


@pytest.mark.parametrize("length", [4, 8, len("whsec_0f-which/has") - 1])
def test_secret_that_is_cut_off_is_hidden(length: int):
    redactor = Redactor([Secret("whsec_0f-which/has", "webhook-secret")])

    assert redactor.cut_content(b'{"role":"' + b"whsec_0f-which/has"[:length]) == b'{"role":"{{hidden}}'


@given(
    secret=secrets,
    start=st.integers(0, 20),
    length=st.integers(12, 60),
    spell=spellings,
    affix=st.text("abc123_-", max_size=5),
)
def test_altered_key_does_not_reveal_the_secret(secret: str, start: int, length: int, spell, affix: str):
    key = spell(secret[start : start + length]) + affix
    answer = httpx.Response(401, json={"error": f"unknown key {key}", "code": "UNAUTHORIZED"})
    request = Request(method="GET", path="/api/whoami", persona="full")

    exchange = send(answer, request, key=key)

    shown = everything_shown(exchange).lower()
    fragment = secret.lower().removeprefix("knouds_live_")
    pieces = {fragment[i : i + 8] for i in range(len(fragment) - 7)}
    assert not [piece for piece in pieces if piece in shown]


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
def test_given_key_is_shown_if_it_is_not_a_secret(key: str, shown: str):
    """Otherwise its pseudonym says what it is."""
    exchange = send(httpx.Response(401), Request(method="GET", path="/", persona="full"), key=key)

    assert dict(exchange.sent_headers)["x-api-key"] == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"Bearer {FULL}", "Bearer {{key:full}}"),
        ("Bearer abc.def", "Bearer {{hidden}}"),
        ("c2VjcmV0", "{{hidden}}"),
    ],
)
def test_authorization_and_cookies_are_always_hidden(value: str, shown: str):
    request = Request(method="GET", path="/", headers=(("Authorization", value),))

    exchange = send(httpx.Response(401, headers={"set-cookie": "sid=abcdef; Path=/"}), request)

    assert dict(exchange.sent_headers)["Authorization"] == shown
    assert exchange.request.headers == (("Authorization", shown),)
    assert exchange.header("set-cookie") == "{{hidden}}"


def test_what_holds_no_secret_stays_as_it_is():
    """The same bytes; the prefix of keys alone is none."""
    body = bytes(range(256))

    assert REDACTOR.content(body) is body
    assert REDACTOR.text("keys begin with knouds_live_") == "keys begin with knouds_live_"


@pytest.mark.parametrize(
    ("said", "safe"),
    [
        (f"role {FULL}", "role {{key:full}}"),
        ("\x1b[2J\u202e", "·[2J·"),
        ("a\n::add-mask::b", "a\n·:add-mask::b"),
        ("\ud800", "·"),
        ("".join(f"\\u{ord(char):04x}" for char in FULL.swapcase()), "{{key:full}}"),
        ("".join(f"%{ord(char):02X}" for char in FULL.upper()), "{{key:full}}"),
    ],
)
def test_secrets_are_hidden_in_any_structure(said: str, safe: str):
    """In dataclasses, mappings and tuples, as keys and values; values that are not strings stay."""
    redactor = Redactor.for_target(make_target())
    request = Request(method="GET", path=said, query=((said, "x"),), path_values={said: said})

    clean = redactor.safe((request, said, 7, None))

    expected = replace(request, path=safe, query=((safe, "x"),), path_values={safe: safe})
    assert clean == (expected, safe, 7, None)


def test_secret_shown_before_it_was_known_is_hidden_afterwards():
    """A new secret clears the cache of redacted texts."""
    redactor = Redactor()
    assert redactor.safe("a-webhook-secret-of-ours") == "a-webhook-secret-of-ours"

    redactor.add(Secret("a-webhook-secret-of-ours", "webhook-secret"))

    assert redactor.safe("a-webhook-secret-of-ours") == "{{webhook-secret}}"
    assert redactor.text("<a-webhook-secret-of-ours>") == "<{{webhook-secret}}>"


@pytest.mark.parametrize(
    "data",
    [
        b'{"email": "ada@example.com"}',
        b'{"email" : "ada\\u0040example.com", "by": ["ada@example.com"]}',
        b'{"inner": "{\\"email\\": \\"ada@example.com\\"}"}',
    ],
)
def test_members_that_the_profile_names_are_hidden(data):
    """In any notation, and afterwards wherever the value appears; each value gets one name."""
    redactor = Redactor.for_target(replace(make_target(), redact=("email", "userId")))

    clean = redactor.content(data)

    assert b"ada@" not in clean
    assert b"{{email:1}}" in clean
    assert json.loads(clean)
    assert redactor.text("mail to ada%40example.com") == "mail to {{email:1}}"
    assert redactor.content(b'{"userId": "ada@example.com", "email": "eve@example.com"}') == (
        b'{"userId": "{{email:1}}", "email": "{{email:2}}"}'
    )


def test_hidden_members_stay_json():
    """Numbers stay numbers; a short text is hidden only in its own member; other members are unchanged."""
    redactor = Redactor(members=("userId",))

    clean = redactor.content(b'{"userId": 17, "x": {"userId":"ada", "userIds": "ada"}, "n": -1}')

    assert json.loads(clean) == {"userId": 0, "x": {"userId": "{{userId:1}}", "userIds": "ada"}, "n": -1}


HOOK = "whsec_0f-which/has+no?prefix"
REDACTOR = Redactor([Secret(FULL, "key:full"), Secret(HOOK, "webhook-secret")])
HIDDEN = re.compile(rb"\{\{(key:full|webhook-secret)\}\}")

Encoding = Callable[[bytes], bytes]


def each(spelling: str) -> Encoding:
    return lambda text: "".join(map(spelling.format, text)).encode()


TEXTS: dict[str, Encoding] = {
    "upper case": bytes.upper,
    "without prefix": lambda text: text.removeprefix(b"knouds_live_"),
    "JSON": lambda text: json.dumps(text.decode()).encode(),
    "escapes of JSON": each("\\u{:04X}"),
    "escapes of JSON within JSON": each("\\\\u{:04x}"),
    "escapes with braces": each("\\u{{{:x}}}"),
    "escapes of bytes": each("\\x{:02x}"),
    "some percent signs": lambda text: re.sub(rb"[^a-z]", lambda found: b"%%%02x" % found[0][0], text),
    "percent signs": each("%{:02X}"),
    "percent signs twice": each("%25{:02x}"),
    "percent signs thrice": each("%2525{:02X}"),
    "HTML": each("&#{};"),
    "HTML without semicolons": each("&#{}"),
    "HTML with zeros": each("&#{:09d};"),
    "hexadecimal HTML": each("&#x{:06X};"),
    "HTML within HTML": each("&amp;#x{:x};"),
}
BINARY: dict[str, Encoding] = {
    "base64": base64.b64encode,
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text).rstrip(b"="),
    "base64 after a name": lambda text: base64.b64encode(b"me:" + text + b"!"),
    "base64 after a longer name": lambda text: base64.b64encode(b"user:" + text),
    "base64 after a name with more": lambda text: base64.b64encode(b"me2:" + text + b"\n"),
    "hexadecimal": lambda text: text.hex().encode(),
    "hexadecimal in upper case": lambda text: text.hex().upper().encode(),
}
TWICE = {"escapes of JSON within JSON", "percent signs twice", "HTML within HTML"}
around = st.sampled_from([b"", b'"', b"<", b"key=", b" ", "\u00e9".encode(), b"\\n", b"/"])


@st.composite
def compositions(draw):
    """Draw encodings, the innermost first: at most one binary one, then escapes up to four deep."""
    binary = draw(st.lists(st.sampled_from(sorted(BINARY)), max_size=1))
    escapes = draw(st.lists(st.sampled_from(sorted(TEXTS.keys() - {"upper case"})), max_size=2))
    assume(sum(1 + (name in TWICE) + 2 * (name == "percent signs thrice") for name in escapes) <= 4)
    return binary + escapes


def encoded(secret: str, names: list[str]) -> bytes:
    """Apply encodings to the secret, the first one innermost."""
    text = secret.encode()
    for name in names:
        text = {**TEXTS, **BINARY}[name](text)
    return text


@pytest.mark.parametrize("name", [*TEXTS, *BINARY])
@pytest.mark.parametrize("secret", [FULL, HOOK], ids=["key", "webhook secret"])
def test_secret_in_one_encoding_is_hidden(secret, name):
    clean = REDACTOR.content(b"<" + encoded(secret, [name]) + b">")

    assert re.fullmatch(rb"<.{0,12}" + HIDDEN.pattern + rb".{0,12}>", clean, re.DOTALL), clean


@pytest.mark.parametrize("name", [*TEXTS, *BINARY])
def test_encoded_secret_that_is_cut_off_is_hidden(name):
    """Wherever it is cut off, if at least ten characters are left."""
    text = encoded(FULL, [name])
    for length in range(len(text) // 2, len(text)):
        clean = REDACTOR.cut_content(b'{"role":"' + text[:length])

        assert re.fullmatch(
            rb'\{"role":".{0,12}\{\{(hidden|key:(?:unknown|full))\}\}.{0,8}', clean, re.DOTALL
        )


@settings(max_examples=60)
@given(secret=st.sampled_from([FULL, HOOK]), names=compositions(), before=around, after=around)
def test_secret_in_any_encodings_is_hidden(secret, names, before, after):
    """In base64 or hexadecimal and that escaped, or escaped up to four deep."""
    try:
        text = encoded(secret, names)
    except UnicodeDecodeError:
        assume(False)
    assume(len(text) < 20_000)

    clean = REDACTOR.content(before + text + after)

    assert HIDDEN.search(clean), (names, text, clean)


HOSTILE = {
    "backslashes": b"\\",
    "escapes": b"\\u006b",
    "percent signs": b"%25",
    "half of an entity": b"&#00",
    "entities": b"&amp;",
    "NULs": b"\0",
    "single letters": b"k ",
    "prefixes": b"knouds_live_ ",
    "text of base64 at each place": b"U",
    "base64 of base64": base64.b64encode(base64.b64encode(b"knouds_live, knouds_live")),
    "keys": FULL.encode() + b" ",
    "keys in base64": base64.b64encode(FULL.encode() + b" "),
    "escaped keys": encoded(FULL, ["escapes of JSON"]) + b",",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_body_takes_linear_time(name):
    body = (HOSTILE[name] * (200_000 // len(HOSTILE[name]) + 1))[:200_000]

    clean = REDACTOR.content(body)

    assert REDACTOR.content(clean) == clean
    assert (len(clean) < 100_000) == ("keys" in name)
