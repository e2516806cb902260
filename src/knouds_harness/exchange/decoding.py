"""Undo the encodings of a text, and map each character back to its place in the original.

Escapes of JSON, JavaScript, URLs and HTML, and at most two levels of base64 and hexadecimal, are undone in
any order, also nested. The NULs of UTF-16 and UTF-32, white space and non-ASCII characters are removed.
"""

from __future__ import annotations

import binascii
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html.entities import html5
from typing import Final

_MOST_PASSES: Final = 6
_MOST_LEVELS: Final = 2
_BYTES: Final = bytes(range(256))
_MARKS: Final = (b"\\", b"%", b"&")
_ESCAPE: Final = re.compile(
    rb"\\(?<!\\\\)\\*+(?:u\{0*([0-9a-f]{1,6})\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([bfnrtv\"'/]))"
    rb"|\\(?<!\\\\)\\+"
    rb"|%u([0-9a-f]{4})|%(?:25)*([0-9a-f]{2})"
    rb"|&(?:amp;)*#(?:x0*([0-9a-f]{1,6})|0*([0-9]{1,7}));?"
    rb"|&(?:amp;)*([a-z][a-z0-9]{1,31});",
    re.IGNORECASE,
)
_LETTER, _BYTE, _DECIMAL, _ENTITY = 4, 6, 8, 9
"""Groups of the pattern that do not hold a code point in hexadecimal."""
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_UNSEEN: Final = b"\0\xff\xfe" + "\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u202e\u2060\ufe0f\ufeff".encode()
"""Bytes that may separate the characters of a secret within base64: NULs, byte order marks, invisibles."""
_ASCII: Final = b"a" * 128 + b"\0" * 128
_NULS: Final = re.compile(rb"\0+")
_NO_ASCII: Final = re.compile(rb"[\0\x80-\xff]+")
_NO_SIGNS: Final = re.compile(rb"[^!-~]+")
_NO_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/_-]+")
_NO_HEX: Final = re.compile(rb"0[xX]|[^0-9A-Fa-f]+")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _left_out(pattern: re.Pattern[bytes]) -> bytes:
    return bytes(each for each in _BYTES if pattern.fullmatch(bytes([each])))


_ALL_BUT: Final = {each: _left_out(each) for each in (_NULS, _NO_ASCII, _NO_SIGNS, _NO_BASE64, _NO_HEX)}


class View:
    """A text derived from another one.

    Attributes:
        origin: Maps start and end in this text to start and end in the original text.
    """

    __slots__ = ("origin", "text")

    def __init__(self, text: bytes, origin: Callable[[int, int], tuple[int, int]]) -> None:
        self.text = text
        self.origin = origin

    def replaced(
        self, pattern: re.Pattern[bytes], fill: Callable[[re.Match[bytes]], bytes], text: bytes
    ) -> View:
        """Return the view of ``text``, which is this text with each match replaced by ``fill``."""
        return View(text, _Places(self, pattern, fill).origin)

    def without(self, pattern: re.Pattern[bytes]) -> View:
        """Return the text without the characters that a pattern matches."""
        text = self.text.translate(None, _ALL_BUT[pattern])
        return self if len(text) == len(self.text) else self.replaced(pattern, lambda _: b"", text)


class _Places:
    """Maps places after a replacement to places before it; computed on first use."""

    def __init__(
        self, before: View, pattern: re.Pattern[bytes], fill: Callable[[re.Match[bytes]], bytes]
    ) -> None:
        self._before = before
        self._pattern = pattern
        self._fill = fill

    def origin(self, start: int, end: int) -> tuple[int, int]:
        return self._before.origin(self._place(start)[0], self._place(end - 1)[1])

    def _place(self, at: int) -> tuple[int, int]:
        places, sizes, starts, ends = self._filled
        number = bisect_right(places, at) - 1
        if number < 0:
            return at, at + 1
        past = at - places[number] - sizes[number]
        end = ends[number]
        return (starts[number], end) if past < 0 else (end + past, end + past + 1)

    @cached_property
    def _filled(self) -> tuple[array[int], ...]:
        """Per replacement: its place and size in the new text, start and end of the replaced text."""
        places, sizes, starts, ends = array("L"), array("L"), array("L"), array("L")
        at = end = 0
        for found in self._pattern.finditer(self._before.text):
            at += found.start() - end
            end = found.end()
            size = len(self._fill(found))
            places.append(at)
            sizes.append(size)
            starts.append(found.start())
            ends.append(end)
            at += size
        return places, sizes, starts, ends


@dataclass(frozen=True, slots=True)
class Decoded:
    """One reading of a text.

    Attributes:
        whole: The text with its escapes undone, or as it is.
        ascii: ``whole`` without non-ASCII characters.
        dense: ``ascii`` without white space.
        is_binary: Whether base64 or hexadecimal was undone.
    """

    whole: View
    ascii: View
    dense: View
    is_binary: bool


def readings(data: bytes, *, least: int) -> Iterator[Decoded]:
    """Yield every reading of a text; the first is the text as it is."""
    yield from _readings(View(data, lambda start, end: (start, end)), least, _MOST_LEVELS)


def plain_readings(data: bytes) -> Iterator[Decoded]:
    """Yield the text as it is, and with its escapes undone."""
    return _readings(View(data, lambda start, end: (start, end)), len(data), 0)


def _readings(view: View, least: int, levels: int) -> Iterator[Decoded]:
    is_binary = levels < _MOST_LEVELS
    read = _decoded(view.without(_NULS), is_binary=is_binary)
    yield read
    last = _unescaped(read.whole)
    if last is not read.whole:
        read = _decoded(last, is_binary=is_binary)
        yield read
    if levels and len(read.dense.text) >= least:
        run = b"a" * least
        for inner in (*_of_base64(read.dense), *_of_hex(read.dense)):
            if run in inner.text.translate(_ASCII, _UNSEEN):
                yield from _readings(inner, least, levels - 1)


def _decoded(view: View, *, is_binary: bool) -> Decoded:
    plain = view.without(_NO_ASCII)
    return Decoded(whole=view, ascii=plain, dense=plain.without(_NO_SIGNS), is_binary=is_binary)


def _unescaped(view: View) -> View:
    for _ in range(_MOST_PASSES):
        if not any(mark in view.text for mark in _MARKS):
            break
        text, count = _ESCAPE.subn(_character, view.text)
        if not count or text == view.text:
            break
        view = view.replaced(_ESCAPE, _character, text).without(_NULS)
    return view


def _character(found: re.Match[bytes]) -> bytes:
    """Return the bytes that an escape stands for."""
    group = found.lastindex
    if group is None:
        return b"\\"
    text = found[group]
    if group == _LETTER:
        return _CONTROLS.get(text.lower(), text)
    if group == _ENTITY:
        return html5.get(f"{text.decode()};", found[0].decode()).encode()
    code = int(text, 10 if group == _DECIMAL else 16)
    if group == _BYTE:
        return bytes([code])
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else found[0]


def _of_base64(view: View) -> Iterator[View]:
    """Yield the text decoded from base64, for each possible alignment."""
    digits = view.without(_NO_BASE64)
    standard = digits.text.translate(_STANDARD) + b"AAA"  # pads the last group of four
    for first in range(4):
        text = binascii.a2b_base64(standard[first : first + (len(standard) - first) // 4 * 4])
        yield _bytes_of(digits, text, first=first, bits=6)


def _of_hex(view: View) -> Iterator[View]:
    """Yield the text decoded from hexadecimal, for both alignments, ignoring other characters."""
    text = view.text.replace(b"0x", b"").replace(b"0X", b"").translate(None, _ALL_BUT[_NO_HEX])
    digits = view.replaced(_NO_HEX, lambda _: b"", text)
    for first in range(2):
        text = bytes.fromhex(digits.text[first : first + (len(digits.text) - first) // 2 * 2].decode())
        yield _bytes_of(digits, text, first=first, bits=4)


def _bytes_of(digits: View, text: bytes, *, first: int, bits: int) -> View:
    """Return the view of the bytes that digits of ``bits`` bits each encode, from digit ``first`` on."""
    return View(
        text, lambda start, end: digits.origin(first + start * 8 // bits, first + (end * 8 - 1) // bits + 1)
    )
