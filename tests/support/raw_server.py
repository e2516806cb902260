"""Servers that speak raw bytes, so that they can break every rule; on loopback, on free ports."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """What a raw server heard.

    Attributes:
        base_url: Where it is.
        requests: The bytes of each request, in order of arrival.
        connections: How many were opened.
    """

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def read_request(self, connection: socket.socket) -> bytes:
        """One request with its body; empty once the client has closed."""
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


Script = Callable[[RawServer, socket.socket], object]


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a script for each connection, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"http{'s' if context else ''}://127.0.0.1:{listener.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            try:
                with context.wrap_socket(connection, server_side=True) if context else connection as stream:
                    script(server, stream)
            except OSError:
                pass  # the client has hung up, as some tests want it to

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
