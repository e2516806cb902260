"""A lean HTTP/1.1 client on gevent: keep-alive, deadlines, TLS, and nothing sent twice.

It knows nothing of Locust and needs no patched process. One client serves any number of greenlets of one
thread.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import quote, urlsplit

from gevent import Timeout, get_hub, monkey

from knouds_harness.errors import UsageError
from knouds_harness.load.client.http_answer import Answer, NotConnected, Opening
from knouds_harness.load.client.http_connection import READ, WRITE, Connection, TlsStream, failure_reason

_LOOK_AFTER_IDLE_S = 0.25
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUE = re.compile(r"[\r\n\0]")
_NOT_FOR_TARGETS = re.compile(r"[^!-~]|#")
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The address of a server; ``tls`` says how to encrypt and whom to trust, None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def connect(origin: Origin, deadline: float) -> tuple[Connection, Opening]:
    """Open a connection by this time of ``time.perf_counter``, trying each address of a name in turn."""
    begun_s = perf_counter()
    with Timeout(max(deadline - begun_s, 0.001), NotConnected("no connection in time")):
        try:
            addresses = get_hub().resolver.getaddrinfo(origin.host, origin.port, 0, socket.SOCK_STREAM)
        except OSError as error:
            raise NotConnected(f"{origin.host} cannot be resolved: {failure_reason(error)}") from error
        resolved_s = perf_counter()
        failure = NotConnected(f"{origin.host} has no address")
        for family, _, _, _, address in addresses:
            try:
                connection, connected_s = _connect(origin, family, address)
            except OSError as error:
                failure = NotConnected(failure_reason(error))
                failure.__cause__ = error
            else:
                return connection, Opening(
                    dns_ms=None if address[0] == origin.host else (resolved_s - begun_s) * 1e3,
                    connect_ms=(connected_s - resolved_s) * 1e3,
                    tls_ms=(perf_counter() - connected_s) * 1e3 if origin.tls else None,
                )
        raise failure


def _connect(origin: Origin, family: int, address: tuple[object, ...]) -> tuple[Connection, float]:
    """Open a connection; return it, and when TCP was connected."""
    # The standard library's own socket, even if Locust has put gevent's in its place.
    raw_socket: socket.socket = monkey.get_original("socket", "socket")(family, socket.SOCK_STREAM)
    try:
        raw_socket.setblocking(False)
        raw_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _open_tcp(raw_socket, address)
        connected_s = perf_counter()
        if origin.tls is None:
            return Connection(raw_socket, raw_socket.fileno()), connected_s
        stream = TlsStream(raw_socket, origin.tls, origin.host)
        while not stream.handshake_step():
            _wait_until(raw_socket, READ)
        return Connection(stream, raw_socket.fileno()), connected_s
    except BaseException:  # a greenlet may be killed here, too
        raw_socket.close()
        raise


def _open_tcp(raw_socket: socket.socket, address: tuple[object, ...]) -> None:
    code = raw_socket.connect_ex(address)
    if code in {errno.EINPROGRESS, errno.EWOULDBLOCK}:
        _wait_until(raw_socket, WRITE)
        code = raw_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _wait_until(raw_socket: socket.socket, events: int) -> None:
    hub = get_hub()
    watcher = hub.loop.io(raw_socket.fileno(), events)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()


class HttpClient:
    """Sends ready-made requests to one origin.

    A request is written once. If its connection breaks, it fails, even if it is a GET: the server may have
    seen it (docs/decisions/no-resend.md). To keep this rare, an idle connection is dropped as soon as the
    server closes it, and one that was idle for a while is checked once more before it is used again.
    """

    def __init__(self, origin: Origin, *, timeout_s: float = 30.0, connect_timeout_s: float = 10.0) -> None:
        """Open no connection yet; ``timeout_s`` runs from sending until the response is complete."""
        self.origin = origin
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[Connection] = []
        self._is_closed = False

    def send(
        self, request: bytes, answer: Answer, *, head_only: bool = False, timeout_s: float | None = None
    ) -> None:
        """Send a request that ``complete`` made, once, and wait for the whole response."""
        now = perf_counter()
        deadline = now + (self._timeout_s if timeout_s is None else timeout_s)
        idle = self._idle
        connection = idle.pop() if idle else None  # the last used, so that the others get old
        if connection is None or not connection.is_open or now - connection.idle_since > _LOOK_AFTER_IDLE_S:
            connection = self._usable(connection, now, deadline, answer)
            now = perf_counter()
        connection.exchange(request, answer, now, deadline, head_only)
        if connection.is_open and not self._is_closed:
            idle.append(connection)
        elif connection.is_open:
            connection.close()

    def _usable(
        self, connection: Connection | None, now: float, deadline: float, answer: Answer
    ) -> Connection:
        while connection is not None:
            if connection.is_still_open():
                return connection
            connection = self._idle.pop() if self._idle else None
        connection, answer.opening = connect(self.origin, min(deadline, now + self._connect_timeout_s))
        return connection

    def close(self) -> None:
        """Close every idle connection, and the others once they have their response."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        """Close idle connections: the loop watches them, so they would not be collected by themselves."""
        for connection in getattr(self, "_idle", ()):
            connection.close_from_anywhere()


def origin_of(base_url: str, *, tls: ssl.SSLContext | None = None) -> Origin:
    """Return the origin of a URL; raise ``UsageError`` if it is none."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{base_url}: not a URL: {error}") from error
    if parts.username or parts.password:
        raise UsageError(
            "a target's URL has no name and password\n  Set default_headers, or auth of a request."
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(f"{base_url}: a target begins with http:// or https:// and a host")
    if parts.scheme == "http":
        return Origin(host=host, port=port or 80, tls=None)
    return Origin(host=host, port=port or 443, tls=tls or tls_context())


def tls_context(*, verify: bool = True) -> ssl.SSLContext:
    """Make a context that trusts what the system does, or anybody; it takes some 10 ms, so share it."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def encode_head(method: str, target: str, authority: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Encode the head of a request, up to but without ``Content-Length``.

    What is not allowed in a request line is percent-encoded in the ``target``, the rest left alone.

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
    """Complete a request: append the length of the body, and the body, to a head of ``encode_head``."""
    if body:
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + (b"\r\n" if method in _BODYLESS else b"Content-Length: 0\r\n\r\n")


def _bytes(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogatepass")
