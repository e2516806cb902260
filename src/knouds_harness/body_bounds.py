"""Limit the size and nesting of responses, so that a hostile one costs bounded memory and time."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import brotli

MAX_BODY_BYTES: Final = 4_000_000
"""Applies to the body as sent, and again once it is decoded."""
TOO_LONG: Final = f"the body is over {MAX_BODY_BYTES // 1_000_000} MB"
KEPT_BYTES: Final = 65_536
"""How much is kept of a long body that is incomplete, not JSON, or only kept for later comparisons."""
MAX_LEVELS: Final = 200
"""How deep JSON may be nested. The schema checks and Python's own functions cannot follow deeper."""
MAX_VALUES: Final = 100_000
"""How many values JSON may hold: each takes up to 150 bytes, and thousands while it is judged."""
_PART_BYTES: Final = 1024 * 1024
_MOST_ENCODINGS: Final = 5


class UndecodableBody(ValueError):
    """The body does not match its ``Content-Encoding``, or is too long."""


class BodyTooLong(UndecodableBody):
    """The body is longer than allowed, as it was sent or once decoded."""


def decoded(body: bytes, content_encoding: str) -> bytes:
    """Undo the encodings of a body that its header lists, but for unknown ones; raise UndecodableBody."""
    encodings = [part.strip().lower() for part in content_encoding.split(",")]
    if len(encodings) > _MOST_ENCODINGS:
        raise UndecodableBody(f"its Content-Encoding lists {len(encodings)} encodings")
    for encoding in reversed(encodings):
        decode = _DECODERS.get(encoding)
        if decode is not None:
            try:
                body = decode(body)
            except (zlib.error, brotli.error) as error:
                raise UndecodableBody(f"the body is not {encoding}: {error}") from error
    return body


def _inflated(body: bytes, *, window_bits: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    data = inflater.decompress(body, MAX_BODY_BYTES + 1)
    if len(data) > MAX_BODY_BYTES:
        raise _too_long()
    if not inflater.eof:
        raise UndecodableBody("the compressed body ends early")
    return data


def _too_long() -> BodyTooLong:
    return BodyTooLong(f"the body is over {MAX_BODY_BYTES:,} bytes once decoded")


def _deflated(body: bytes) -> bytes:
    """Inflate zlib's format, which ``deflate`` means; also bare deflate, which some servers send."""
    try:
        return _inflated(body, window_bits=zlib.MAX_WBITS)
    except zlib.error:
        return _inflated(body, window_bits=-zlib.MAX_WBITS)


def _unbrotlied(body: bytes) -> bytes:
    decompressor = brotli.Decompressor()
    data = bytearray()
    part: bytes = decompressor.process(body, output_buffer_limit=_PART_BYTES)
    while part:
        data += part
        if len(data) > MAX_BODY_BYTES:
            raise _too_long()
        part = decompressor.process(b"", output_buffer_limit=_PART_BYTES)
    if not decompressor.is_finished():
        raise UndecodableBody("the compressed body ends early")
    return bytes(data)


_DECODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": partial(_inflated, window_bits=zlib.MAX_WBITS | 16),
    "x-gzip": partial(_inflated, window_bits=zlib.MAX_WBITS | 16),
    "deflate": _deflated,
    "br": _unbrotlied,
}


def has_too_many_values(body: bytes) -> bool:
    """Return whether JSON may hold over ``MAX_VALUES`` values, by a count of its separators."""
    if len(body) <= MAX_VALUES:
        return False
    dividers = 0
    for start in range(0, len(body), MAX_VALUES):
        dividers += sum(body.count(each, start, start + MAX_VALUES) for each in (b",", b"[", b"{"))
        if dividers > MAX_VALUES:
            return True
    return False


def is_too_deep(body: bytes, value: Any) -> bool:  # noqa: ANN401 - any JSON
    """Return whether a body is nested over ``MAX_LEVELS`` deep; ``value`` is the parsed body."""
    if body.count(b"[") + body.count(b"{") <= MAX_LEVELS:
        return False
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        nested = [each for each in level if isinstance(each, dict | list)]
        if not nested:
            return False
        level = [inner for each in nested for inner in (each.values() if isinstance(each, dict) else each)]
    return True


MOST_DIGITS: Final = 18
"""Far more than any header of the API has; longer numbers overflow the counters and their packed form."""


def whole_number(text: str | None) -> int | None:
    """Parse at most ``MOST_DIGITS`` ASCII digits; return None for any other text."""
    is_number = text and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()
    return int(text) if text and is_number else None
