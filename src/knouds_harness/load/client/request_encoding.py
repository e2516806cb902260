"""Requests as bytes, made once and sent often."""

import re
from collections.abc import Iterable
from urllib.parse import quote

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE = re.compile(r"[\r\n\0]")
_NOT_FOR_TARGETS = re.compile(r"[^!-~]|#")
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def encode_head(method: str, target: str, authority: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head, up to where the length of its body is said.

    Args:
        method: Uppercase.
        target: Path and query; what may not stand in a request line is percent-encoded, the rest left alone.
        authority: For the ``Host`` header, unless ``headers`` have one.
        headers: Sent in this order, as they are.

    Raises:
        ValueError: A name or value that cannot be sent; a value is never quoted in the message.
    """
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is not a method")
    if not target.startswith("/") and target != "*":
        target = f"/{target}"
    if _NOT_FOR_TARGETS.search(target):
        target = quote(target.partition("#")[0], safe="!$%&'()*+,-./:;=?@[]_~")
    lines = [f"{method} {target} HTTP/1.1"]
    names = set()
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        if _FORBIDDEN_IN_VALUE.search(value):
            raise ValueError(f"the value of header {name} has a line break or a zero byte in it")
        names.add(name.lower())
        lines.append(f"{name}: {value}")
    if "content-length" in names or "transfer-encoding" in names:
        raise ValueError("the length of a body is counted, not given")
    if "host" not in names:
        lines.insert(1, f"Host: {authority}")
    return b"".join(_bytes(line) + b"\r\n" for line in lines)


def complete(head: bytes, method: str, body: bytes | None) -> bytes:
    """A whole request.

    Args:
        head: From ``encode_head``.
        method: The same as there; those that want a body say its length even where it is empty.
        body: As it is sent.
    """
    if body:
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + (b"\r\n" if method in _BODYLESS else b"Content-Length: 0\r\n\r\n")


def encode(
    method: str,
    target: str,
    authority: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> bytes:
    """A whole request, from scratch; see ``encode_head`` and ``complete``."""
    return complete(encode_head(method, target, authority, headers), method, body)


def _bytes(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogatepass")
