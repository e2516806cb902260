"""Hostile responses for clients, and hostile requests for servers."""

import gzip
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import brotli
from hypothesis import strategies as st
from raw_server import Attack

from knouds_harness.contract.document import shipped_document
from knouds_sandbox.seeding import key_secret

_JSON: Final = b"Content-Type: application/json\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\n" + _JSON
_ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, 7, -1, 1.5, True, "", "x", "\ud800", 10**30, [], {}),
    *([None], [[]], [{}], [1, "a"], {"a": None}),
)
_DRIP_PAUSE_S: Final = 0.1
_LATE_S: Final = 3.0
"""Longer than the timeout in the profiles of these tests."""
_ESCAPES: Final = (
    "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\u2028\x85\x08\0\r\n::error::owned\n##[error]a\n##vso[task.b]\n"
)
"""What a terminal or a CI system obeys."""
_MEGABYTE: Final = b"x" * 1_000_000


def whole(change: Callable[[bytes], bytes], *, head: bytes = _OK) -> Attack:
    """Send valid HTTP with a changed body."""

    def attack(connection: socket.socket, body: bytes) -> None:
        changed = change(body)
        connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(changed), changed))

    return attack


def raw(make: Callable[[bytes], bytes]) -> Attack:
    """Send bytes, and end the connection."""
    return lambda connection, body: connection.sendall(make(body))


def endless(begin: bytes, part: bytes, *, pause_s: float = 0.0) -> Attack:
    """Send bytes without end, until the client hangs up."""

    def attack(connection: socket.socket, _: bytes) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(part)
            time.sleep(pause_s)

    return attack


def altered(random: Random, *, share: float) -> Attack:
    """Send valid HTTP and JSON; in a share of the responses some values have another type, or are missing."""

    def alter(value: Any) -> Any:
        if random.random() < 0.15:
            return random.choice(_ODD_VALUES)
        if isinstance(value, dict):
            return {name: alter(member) for name, member in value.items() if random.random() > 0.03}
        return [alter(item) for item in value] if isinstance(value, list) else value

    def change(body: bytes) -> bytes:
        return json.dumps(alter(json.loads(body))).encode() if random.random() < share else body

    return whole(change)


@cache
def _gzip_bomb() -> bytes:
    """Return 1 GB once decoded."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    begin, part = (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return begin + part * 999


@cache
def _brotli_bomb() -> bytes:
    """Return 1 GB once decoded."""
    packer = brotli.Compressor(quality=1)
    return b"".join(packer.process(bytes(1_000_000)) for _ in range(1_000)) + bytes(packer.finish())


def _added(member: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:-1] + b', "extra": ' + member + b"}"


def _declared(body: bytes, headers: bytes) -> bytes:
    return b"%s%s\r\n%s" % (_OK, headers, body)


def _reset(begin: Callable[[bytes], bytes]) -> Attack:
    """Send bytes, and reset the connection, which discards what has not been read."""

    def attack(connection: socket.socket, body: bytes) -> None:
        connection.sendall(begin(body))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return attack


def _half_closed(begin: Callable[[bytes], bytes]) -> Attack:
    """Send bytes and close that direction alone; the connection stays open for the other side."""

    def attack(connection: socket.socket, body: bytes) -> None:
        connection.sendall(begin(body))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return attack


def _silent(connection: socket.socket, _: bytes) -> None:
    while connection.recv(65536):
        pass


def _late(connection: socket.socket, body: bytes) -> None:
    time.sleep(_LATE_S)
    connection.sendall(_declared(body, b"Content-Length: %d\r\n" % len(body)))


def _texts_replaced(text: str) -> Callable[[bytes], bytes]:
    """Replace every text, and add the new one as a member."""

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {text: text, **{name: replaced(member) for name, member in value.items()}}
        if isinstance(value, list):
            return [replaced(item) for item in value]
        return text if isinstance(value, str) else value

    return lambda body: json.dumps(replaced(json.loads(body))).encode()


BROKEN_JSON: Final[Mapping[str, Attack]] = {
    "truncated JSON": whole(lambda body: body[:-9]),
    "invalid UTF-8": whole(_added(b'"\xff\xfe"')),
    "UTF-16 said to be UTF-8": whole(lambda body: body.decode().encode("utf-16")),
    "NaN": whole(_added(b"NaN")),
    "nested 100,000 times": whole(_added(b"[" * 100_000 + b"]" * 100_000)),
    "null bytes": whole(lambda body: body[:9] + b"\0\0" + body[9:]),
    "raw control characters in a text": whole(_added(b'"\x01\x1b[2J"')),
    "byte order mark": whole(lambda body: b"\xef\xbb\xbf" + body),
    "nothing": whole(lambda _: b""),
    "no members": whole(lambda _: b"{}"),
    "another type": whole(lambda _: b"7"),
    "chunks of nothing": raw(lambda _: _declared(b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n")),
    "status 999": whole(bytes, head=b"HTTP/1.1 999 Odd\r\n" + _JSON),
    "a redirect elsewhere": whole(
        lambda _: b"", head=b"HTTP/1.1 307 Odd\r\nLocation: http://192.0.2.1/\r\n" + _JSON
    ),
    "status 204": raw(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"),
    "status 500 in HTML": whole(
        lambda _: b"<h1>Oops</h1><script>alert(1)</script>",
        head=b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n",
    ),
    "a login page": whole(lambda _: b"<html><form>", head=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"),
    "no content type": whole(bytes, head=b"HTTP/1.1 200 OK\r\n"),
    "a number beyond doubles": whole(lambda _: b'{"rows": 1e400, "total": -1e400, "user": 1e400}'),
    "50,000 members": whole(lambda _: b"{" + b",".join(b'"%d":0' % each for each in range(50_000)) + b"}"),
    "2,000,000 numbers": whole(lambda _: b'{"rows": [' + b"0," * 1_990_000 + b"0]}"),
    "3,000,000 brackets, packed": whole(
        lambda _: gzip.compress(b"[" * 3_000_000), head=_OK + b"Content-Encoding: gzip\r\n"
    ),
    "1,300,000 objects, packed": whole(
        lambda _: gzip.compress(b"[" + b"{}," * 1_300_000 + b"{}]"), head=_OK + b"Content-Encoding: gzip\r\n"
    ),
    "escape sequences": whole(_texts_replaced(_ESCAPES), head=b"HTTP/1.1 200 \x1b[2J\r\n" + _JSON),
    "markup": whole(_texts_replaced("</script><script>alert(1)</script><!-- `|*[x](javascript:1)")),
    "wrong members": whole(lambda _: json.dumps({"user": {"id": 10**400, "email": "\ud800"}}).encode()),
}
"""Valid HTTP responses that break a documented fact."""

BROKEN_HTTP: Final[Mapping[str, Attack]] = {
    "100 MB": raw(lambda _: _declared(_MEGABYTE * 100, b"Content-Length: 100000000\r\n")),
    "endless chunks": endless(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n", b"f4240\r\n" + _MEGABYTE + b"\r\n"
    ),
    "endless chunks of two bytes": endless(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nxy\r\n" * 10_000
    ),
    "cut body": raw(lambda body: _declared(body[:-5], b"Content-Length: %d\r\n" % len(body))),
    "a reset in the body": _reset(lambda body: _declared(body[:9], b"Content-Length: %d\r\n" % len(body))),
    "half-closed in the body": _half_closed(lambda body: _declared(body[:9], b"Content-Length: 9999\r\n")),
    "a length below zero": raw(lambda body: _declared(body, b"Content-Length: -1\r\n")),
    "a length and chunks": raw(
        lambda body: _declared(body, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")
    ),
    "garbled chunks": raw(lambda _: _declared(b"xyz\r\n{}\r\n", b"Transfer-Encoding: chunked\r\n")),
    "a chunk of 2^64": raw(
        lambda _: _declared(b"f" * 16 + b"\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n")
    ),
    "an endless trailer": endless(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-More: more\r\n" * 1_000
    ),
    "an endless extension of a chunk": endless(_OK + b"Transfer-Encoding: chunked\r\n\r\n2;", b"x" * 65_536),
    "an endless body without a length": endless(_OK + b"\r\n", _MEGABYTE),
    "endless headers": endless(_OK, b"X-More: more\r\n" * 1_000),
    "an endless status line": endless(b"HTTP/1.1 200 ", b"O" * 65_536),
    "a header without a colon": raw(lambda body: _declared(body, b"no colon\r\n")),
    "a status in words": raw(lambda body: b"HTTP/1.1 OK\r\n\r\n" + body),
    "a TLS alert": raw(lambda _: b"\x15\3\3\0\2\2\x28"),
    "switching protocols": raw(
        lambda _: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02{}"
    ),
    "random bytes": raw(lambda _: Random(7).randbytes(4_096)),
    "Brotli bomb": raw(lambda _: _declared(_brotli_bomb(), b"Content-Encoding: br\r\n")),
    "gzip in gzip": raw(
        lambda _: _declared(gzip.compress(_gzip_bomb()), b"Content-Encoding: gzip, gzip\r\n")
    ),
    "two lengths": raw(lambda body: _declared(body, b"Content-Length: 3\r\nContent-Length: 4\r\n")),
    "HTTP/0.9": raw(bytes),
    "a header of 1 MB": raw(lambda body: _declared(body, b"X-Long: " + _MEGABYTE + b"\r\n")),
    "null bytes in a header": raw(lambda body: _declared(body, b"X-Odd: a\0b\r\n")),
    "broken gzip": raw(lambda body: _declared(body, b"Content-Encoding: gzip\r\nContent-Length: 9\r\n")),
    "gzip bomb": raw(lambda _: _declared(_gzip_bomb(), b"Content-Encoding: gzip\r\n")),
}
"""Invalid HTTP, or beyond any reasonable bound."""

NO_ANSWER: Final[Mapping[str, Attack]] = {
    "early close": raw(lambda _: b""),
    "a reset before the status line": _reset(lambda _: b""),
    "half-closed before the status line": _half_closed(lambda _: b""),
    "silence": _silent,
    "too late": _late,
    "slow drip": endless(_OK + b"Content-Length: 9999\r\n\r\n", b" ", pause_s=_DRIP_PAUSE_S),
    "slow head": endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", pause_s=_DRIP_PAUSE_S),
    "endless 1xx": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_s=0.001),
}
"""No response that could be judged within the timeout."""

HARMLESS: Final[Mapping[str, Attack]] = {
    "HTTP/1.0": raw(lambda body: b"HTTP/1.0 200 OK\r\n%s\r\n%s" % (_JSON, body)),
    "a charset": whole(bytes, head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"),
    "sound gzip": whole(gzip.compress, head=_OK + b"Content-Encoding: gzip\r\n"),
    "an unknown encoding": raw(lambda body: _declared(body, b"Content-Encoding: rot13\r\n")),
    "huge integers": whole(_added(b"1" * 4_000)),
    "lone surrogates": whole(_added(rb'{"\ud800": "\udfff"}')),
    "a few 1xx": raw(
        lambda body: (
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + _declared(body, b"Content-Length: %d\r\n" % len(body))
        )
    ),
    "a header twice": whole(bytes, head=_OK + b"X-Twice: 1\r\nx-twice: \xe9\r\n"),
}
"""Unusual responses that the contract allows: additive, or a matter of transport."""

KEY = key_secret(0, "full").encode()
PATHS = (
    *(re.sub(r"\{\w+\}", "{}", each.path) for each in shipped_document().operations),
    *("/api/credits/{}", "/__sandbox__/keys", "/__sandbox__/accounts", "/__sandbox__/clock"),
    *("/__sandbox__/state", "/{}"),
)
_IN_URLS = st.lists(st.sampled_from([*b"abz09-_.~!$&'()*+,;=:@/%?&%"]), max_size=16).map(bytes)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 2**63])
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_MEMBERS = (
    *("name", "description", "tags", "nodes", "edges", "viewport", "publicPlayground", "folderId", "slug"),
    *("createdBy", "account", "capabilities", "state", "webhook", "tier", "role", "approved", "credits"),
    *("grant", "advance_s", "inputs"),
)
_INPUTS = st.sampled_from(["prompt", "count", "seconds", "duration", "numImages"]) | st.text(max_size=4)
_DOCUMENTS = st.dictionaries(st.sampled_from(_MEMBERS), _VALUES, max_size=5)
_RUNS = st.fixed_dictionaries({"inputs": st.dictionaries(_INPUTS, _VALUES)})


def exchange(base_url: str, data: bytes) -> bytes:
    """Send bytes, close that direction, and return the response."""
    address = urlsplit(base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(method: bytes, target: bytes, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: localhost", b"Connection: close"]
    lines += [*headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def keyed_request(
    *,
    path: str,
    segment: bytes,
    query: bytes = b"",
    method: str = "POST",
    content_type: bytes = b"application/json",
    body: bytes = b"",
    preference: bytes = b"",
    key: bytes = KEY,
) -> bytes:
    """Make a request with a key and the token of the control plane."""
    headers = [b"x-api-key: " + key, b"Content-Type: " + content_type, b"x-sandbox-token: test-token"]
    headers += [b"Prefer: " + preference] if preference else []
    return request(method.encode(), path.encode().replace(b"{}", segment) + b"?" + query, body, *headers)


REQUESTS = st.builds(
    keyed_request,
    path=st.sampled_from(PATHS),
    segment=_IN_URLS | st.sampled_from(b"portrait no-generator seedream-v5 suno-v5 %00 %ff %2f ..".split()),
    query=_IN_URLS
    | st.sampled_from(b"async=true limit=-1&offset=99999999999999 status=%ff limit=%00".split()),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]),
    content_type=st.sampled_from(
        [b"application/json", b"application/json; charset=utf-16", b"text/plain", b"", b"\xff/\xfe"]
    ),
    body=st.binary(max_size=40)
    | (_VALUES | _DOCUMENTS | _RUNS).map(lambda value: json.dumps(value).encode()),
    preference=st.just(b"")
    | st.sampled_from(b'code=500 execution=cancelled execution=processing example="legacy \xff;=,'.split()),
)
