"""Undoing ``Content-Encoding``, so that a small body which decodes to a huge one costs bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import brotli

_PART_BYTES: Final = 1024 * 1024
_MOST_ENCODINGS: Final = 5


class UndecodableBody(ValueError):
    """The body is not what its ``Content-Encoding`` says, or too long once decoded."""


class TooLongOnceDecoded(UndecodableBody):
    """The body is longer than allowed once it is decoded."""


def decoded(body: bytes, content_encoding: str, *, most_bytes: int) -> bytes:
    """Decode a body.

    Args:
        body: As it was sent.
        content_encoding: The header; encodings that are not known are left alone.
        most_bytes: No decoding makes more than so many.

    Raises:
        UndecodableBody: It is not what the header says.
        TooLongOnceDecoded: It is longer than allowed.
    """
    encodings = [part.strip().lower() for part in content_encoding.split(",")]
    if len(encodings) > _MOST_ENCODINGS:
        raise UndecodableBody(f"the body is said to be encoded {len(encodings)} times over")
    for encoding in reversed(encodings):
        decode = _DECODERS.get(encoding)
        if decode is not None:
            try:
                body = decode(body, most_bytes)
            except (zlib.error, brotli.error) as error:
                raise UndecodableBody(f"the body is not {encoding}: {error}") from error
    return body


def _inflated(body: bytes, most_bytes: int, *, window_bits: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    data = inflater.decompress(body, most_bytes + 1)
    if len(data) > most_bytes:
        raise _too_long(most_bytes)
    if not inflater.eof:
        raise UndecodableBody("the compressed body ends early")
    return data


def _too_long(most_bytes: int) -> TooLongOnceDecoded:
    return TooLongOnceDecoded(f"the body is over {most_bytes:,} bytes once decoded")


def _deflated(body: bytes, most_bytes: int) -> bytes:
    """What ``deflate`` names is zlib's format; some servers send bare deflate, and browsers take both."""
    try:
        return _inflated(body, most_bytes, window_bits=zlib.MAX_WBITS)
    except zlib.error:
        return _inflated(body, most_bytes, window_bits=-zlib.MAX_WBITS)


def _unbrotlied(body: bytes, most_bytes: int) -> bytes:
    decompressor = brotli.Decompressor()
    data = bytearray()
    part: bytes = decompressor.process(body, output_buffer_limit=_PART_BYTES)
    while part:
        data += part
        if len(data) > most_bytes:
            raise _too_long(most_bytes)
        part = decompressor.process(b"", output_buffer_limit=_PART_BYTES)
    if not decompressor.is_finished():
        raise UndecodableBody("the compressed body ends early")
    return bytes(data)


_DECODERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": partial(_inflated, window_bits=zlib.MAX_WBITS | 16),
    "x-gzip": partial(_inflated, window_bits=zlib.MAX_WBITS | 16),
    "deflate": _deflated,
    "br": _unbrotlied,
}
