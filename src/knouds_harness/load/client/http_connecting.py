"""Opening a connection: name, address, TCP, TLS."""

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from time import perf_counter

from gevent import Timeout, get_hub, monkey

from knouds_harness.load.client.http_answer import Opening
from knouds_harness.load.client.http_connection import READ, WRITE, Connection, failure_reason
from knouds_harness.load.client.tls_stream import TlsStream
from knouds_harness.load.client.transport_failures import NotConnected


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a server is.

    Attributes:
        host: A name or an address, without brackets.
        port: Its TCP port.
        tls: How to encrypt and whom to trust; None for plain HTTP.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def connect(origin: Origin, deadline: float) -> tuple[Connection, Opening]:
    """Open a connection, trying each address of a name in turn.

    Args:
        origin: Where to.
        deadline: On ``time.perf_counter``'s clock; for everything together.

    Raises:
        NotConnected: None could be had in time.
    """
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
            except ssl.SSLError as error:
                failure = NotConnected(f"TLS: {_tls_reason(error)}")
                failure.__cause__ = error
            except OSError as error:
                failure = NotConnected(failure_reason(error))
                failure.__cause__ = error
            else:
                return connection, Opening(
                    dns_ms=(resolved_s - begun_s) * 1e3,
                    connect_ms=(connected_s - resolved_s) * 1e3,
                    tls_ms=(perf_counter() - connected_s) * 1e3 if origin.tls else None,
                )
        raise failure


def _connect(origin: Origin, family: int, address: tuple[object, ...]) -> tuple[Connection, float]:
    """Open a connection; return also when TCP stood."""
    # The standard library's own socket, also where locust has put gevent's in its place.
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


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
