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


def between(sign: str, *, every: int = 1) -> Encoding:
    """Put something between any two bytes, or after each n of them."""
    return lambda text: sign.encode().join(text[at : at + every] for at in range(0, len(text), every))


def hexadecimal(separator: str, spelling: str) -> Encoding:
    """Join pairs of digits with a separator."""
    return lambda text: separator.join(map(spelling.format, text)).encode()


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
    "spaces": between(" "),
    "lines": between("\r\n", every=7),
    "escaped line ends": between("\\r\\n", every=9),
    "no-break spaces": between("\u00a0"),
    "zero-width spaces": between("\u200b"),
    "zero-width joiners": between("\u200d", every=3),
    "byte order marks": between("\ufeff"),
    "soft hyphens": between("\u00ad"),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "UTF-16 from the greater end": lambda text: text.decode().encode("utf-16-be"),
    "UTF-32": lambda text: text.decode().encode("utf-32-be"),
}
BINARY: dict[str, Encoding] = {
    "base64": base64.b64encode,
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text).rstrip(b"="),
    "base64 in lines": lambda text: base64.encodebytes(b"user: " + text + b"\n").replace(b"\n", b"\r\n"),
    "base64 after a name": lambda text: base64.b64encode(b"me:" + text + b"!"),
    "base64 after a longer name": lambda text: base64.b64encode(b"user:" + text),
    "base64 after a name with more": lambda text: base64.b64encode(b"me2:" + text + b"\n"),
    "hexadecimal": hexadecimal("", "{:02x}"),
    "hexadecimal with colons": hexadecimal(":", "{:02X}"),
    "hexadecimal with spaces": hexadecimal(" ", "{:02x}"),
    "hexadecimal with commas": hexadecimal(", ", "0x{:02x}"),
}
ESCAPES = re.compile("escape|JSON|percent|HTML")
BREAKS = re.compile("spaces|line|joiners|marks|hyphens")
around = st.sampled_from([b"", b'"', b"<", b"key=", b" ", "\u00e9".encode(), b"\\n", b"/"])


@st.composite
def compositions(draw):
    """Draw encodings, the innermost first; no more than the documented number has to be undone."""
    names = draw(st.lists(st.sampled_from([*TEXTS, *BINARY]), max_size=4))
    binary = [at for at, name in enumerate(names) if name in BINARY]
    assume(len(binary) <= 2)
    assume(not binary or "upper case" not in names[binary[0] :])  # base64 would encode another text then
    escaped = [bool(ESCAPES.search(name)) for name in names]
    for at, name in enumerate(names):
        start = max([0, *(number + 1 for number in binary if number < at)])
        assume(not BREAKS.search(name) or not any(escaped[start:at]))  # a broken escape is not an escape
    return names


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
        *("UTF-16", "UTF-16 from the greater end", "UTF-32", "base64", "base64 for URLs"),
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
    """At most two of base64 and hexadecimal, and any number of the others, in any order."""
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
