"""Undo the encodings in which a server may echo a secret."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from html.entities import html5
from typing import Final

_MOST_ESCAPES: Final = 4
_ESCAPE: Final = re.compile(
    rb"\\u\{0*([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|(?:\\([bfnrtv\"'/\\]))"
    rb"|%u([0-9a-f]{4})|%([0-9a-f]{2})"
    rb"|&#(?:x0*([0-9a-f]{1,6})|0*([0-9]{1,7}));?"
    rb"|&([a-z][a-z0-9]{1,31});",
    re.IGNORECASE,
)
_LETTER, _BYTE, _DECIMAL, _ENTITY = 4, 6, 8, 9
"""Groups of the pattern that do not hold a code point in hexadecimal."""
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_MARKS: Final = (b"\\", b"%", b"&")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def readings(data: bytes) -> Iterator[bytes]:
    """Yield the data, the data with its escapes undone, and what either holds in base64 or hexadecimal.

    Escapes of JSON, JavaScript, URLs and HTML are undone up to four times, in any order; base64 and
    hexadecimal once, if they encode eight bytes or more.
    """
    for _ in range(_MOST_ESCAPES + 1):
        yield data
        if decoded := _of_binary(data):
            yield decoded
        if not any(mark in data for mark in _MARKS):
            return
        unescaped = _ESCAPE.sub(_character, data)
        if unescaped == data:
            return
        data = unescaped


def _of_binary(data: bytes) -> bytes:
    """Return all that the data may hold in base64 or hexadecimal, one reading to a line."""
    runs = _BASE64.findall(data)
    digits = b"".join([run + b"A" * (-len(run) % 4 + 4) for run in runs]).translate(_STANDARD)
    pairs = b"".join([run + b"0" * (len(run) % 2 + 2) for run in _HEX.findall(data)])
    read = [binascii.a2b_hex(pairs), binascii.a2b_hex(pairs[1:-1])] if pairs else []
    if digits:  # a secret may begin anywhere in the encoding of a longer text
        read += [binascii.a2b_base64(digits[first : len(digits) - 4 + first]) for first in range(4)]
    return b"\n".join(read)


def _character(found: re.Match[bytes]) -> bytes:
    """Return the bytes that an escape stands for."""
    group = found.lastindex or 0
    text = found[group]
    if group == _LETTER:
        return _CONTROLS.get(text, text)
    if group == _ENTITY:
        return html5.get(f"{text.decode()};", found[0].decode()).encode()
    code = int(text, 10 if group == _DECIMAL else 16)
    if group == _BYTE:
        return bytes([code])
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else found[0]
