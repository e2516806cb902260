"""A secret is hidden in any encoding, also in several that are nested."""

import base64
import json
import re
from collections.abc import Callable

import pytest
from example_targets import SECRETS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from knouds_harness.exchange.redaction import Redactor
from knouds_harness.targets.personas import Secret

KEY = SECRETS["full"]
HOOK = "whsec_0f-which/has+no?prefix"
REDACTOR = Redactor([Secret(KEY, "key:full"), Secret(HOOK, "webhook-secret")])
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
@pytest.mark.parametrize("secret", [KEY, HOOK], ids=["key", "webhook secret"])
def test_secret_in_one_encoding_is_hidden(secret, name):
    clean = REDACTOR.content(b"<" + encoded(secret, [name]) + b">")

    assert re.fullmatch(rb"<.{0,12}" + HIDDEN.pattern + rb".{0,12}>", clean, re.DOTALL), clean


@pytest.mark.parametrize(
    "name",
    [
        *("escapes of JSON", "escapes of JSON within JSON", "percent signs", "HTML", "hexadecimal HTML"),
        *("base64", "base64 for URLs"),
        *("base64 after a name", "base64 after a longer name", "hexadecimal"),
    ],
)
def test_encoded_secret_that_is_cut_off_is_hidden(name):
    """Wherever it is cut off, if at least ten characters are left."""
    text = encoded(KEY, [name])
    for length in range(len(text) // 2, len(text)):
        clean = REDACTOR.cut_content(b'{"role":"' + text[:length])

        assert re.fullmatch(
            rb'\{"role":".{0,12}\{\{(hidden|key:(?:unknown|full))\}\}.{0,8}', clean, re.DOTALL
        )


@settings(max_examples=60)
@given(secret=st.sampled_from([KEY, HOOK]), names=compositions(), before=around, after=around)
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
    "keys": KEY.encode() + b" ",
    "keys in base64": base64.b64encode(KEY.encode() + b" "),
    "escaped keys": encoded(KEY, ["escapes of JSON"]) + b",",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_body_takes_linear_time(name):
    body = (HOSTILE[name] * (200_000 // len(HOSTILE[name]) + 1))[:200_000]

    clean = REDACTOR.content(body)

    assert REDACTOR.content(clean) == clean
    assert (len(clean) < 100_000) == ("keys" in name)
