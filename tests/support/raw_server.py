"""Servers that send raw bytes, so they can break every rule; on loopback, on free ports."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Self
from urllib.parse import urlsplit

Script = Callable[["RawServer", socket.socket], object]
Attack = Callable[[socket.socket, bytes], object]
"""Responds on a connection instead of a server; gets the body that the server would have sent."""
Pairs = Sequence[tuple[str, str]]


@dataclass
class RawServer:
    """What a raw server received: the bytes of each request in order of arrival; counts connections."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def read_request(self, connection: socket.socket) -> bytes:
        """Read one request with its body; empty once the client has closed."""
        data = b""
        while not _is_whole(data):
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        self.requests.append(data)
        return data


def _is_whole(data: bytes) -> bool:
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    lengths = [line.split(b":")[1] for line in lines if line.startswith(b"content-length")]
    return bool(separator) and len(body) >= int(lengths[0] if lengths else 0)


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a script for each connection, in its own thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http{'s' if context else ''}://127.0.0.1:{listener.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            try:
                with context.wrap_socket(connection, server_side=True) if context else connection as stream:
                    script(server, stream)
            except OSError:
                pass  # the client has hung up, as in some tests

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                server.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(timeout=5)


def always(
    content: bytes, *, status: str = "200 OK", content_type: str = "application/json", more: str = ""
) -> Script:
    """Make a script that answers every request alike; ``more`` are header lines."""
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}"
    answer = f"{lines}Content-Length: {len(content)}\r\n\r\n".encode() + content

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(answer)

    return script


@dataclass(frozen=True, kw_only=True)
class Relayed:
    """A request as it reached a proxy."""

    method: str
    target: str
    headers: Pairs
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return cls(method=method, target=target, headers=pairs, body=body)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The response of the server behind a proxy, without connection headers."""

    status: int
    reason: str
    headers: Pairs
    content: bytes

    def in_bytes(self) -> bytes:
        pairs = (*self.headers, ("content-length", str(len(self.content))))
        head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        return f"HTTP/1.1 {self.status} {self.reason}\r\n{head}\r\n".encode("latin-1") + self.content


Proxied = bytes | Callable[[socket.socket], object]
"""What a client gets: bytes, or a function that sends; the connection then closes unless it returns True."""


@contextmanager
def proxying(
    base_url: str,
    answer: Callable[[Relayed, Callable[[], Answered]], Proxied],
    context: ssl.SSLContext | None = None,
) -> Iterator[RawServer]:
    """Stand in front of a server, optionally with TLS: ``answer`` may ask for its response."""
    netloc = urlsplit(base_url).netloc

    def relay(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            relayed = Relayed.of(request)
            proxied = answer(relayed, partial(_asked, netloc, relayed))
            if isinstance(proxied, bytes):
                connection.sendall(proxied)
            elif proxied(connection) is not True:
                return

    with serving(relay, context) as server:
        yield server


def _asked(netloc: str, relayed: Relayed) -> Answered:
    to_server = http.client.HTTPConnection(netloc, timeout=30)
    try:
        to_server.putrequest(relayed.method, relayed.target, skip_accept_encoding=True)
        for name, value in relayed.headers:
            if name.lower() not in ("host", "connection"):
                to_server.putheader(name, value)
        to_server.endheaders(relayed.body)
        answer = to_server.getresponse()
        dropped = ("connection", "content-length", "transfer-encoding")
        kept = [pair for pair in answer.getheaders() if pair[0].lower() not in dropped]
        return Answered(status=answer.status, reason=answer.reason, headers=kept, content=answer.read())
    finally:
        to_server.close()


@contextmanager
def replacing(
    base_url: str,
    choose: Callable[[str, int], Attack | None] = lambda *_: None,
    context: ssl.SSLContext | None = None,
    *,
    instead: Callable[[str, str], bytes | None] = lambda *_: None,
) -> Iterator[RawServer]:
    """Stand in front of a server, optionally with TLS; an attack may replace a response.

    ``choose`` gets path (with query) and status of a response, and returns the attack or None.
    ``instead`` gets method and path of a request, and may answer instead of the server.
    """

    def answer(relayed: Relayed, asked: Callable[[], Answered]) -> Proxied:
        if (own := instead(relayed.method, relayed.target)) is not None:
            return own
        answered = asked()
        attack = choose(relayed.target, answered.status)
        if attack is None:
            return answered.in_bytes()
        return lambda connection: attack(connection, answered.content)

    with proxying(base_url, answer, context) as server:
        yield server
