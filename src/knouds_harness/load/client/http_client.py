"""A lean HTTP/1.1 client on gevent: keep-alive, deadlines, TLS, and nothing sent twice.

It knows nothing of Locust and needs no patched process. One client serves any number of greenlets of one
thread.
"""

import ssl
from time import perf_counter
from typing import Self
from urllib.parse import urlsplit

from knouds_harness.errors import UsageError
from knouds_harness.load.client.http_answer import Answer
from knouds_harness.load.client.http_connecting import Origin, connect
from knouds_harness.load.client.http_connection import Connection

_LOOK_AFTER_IDLE_S = 0.25


class HttpClient:
    """Sends ready-made requests to one origin.

    A request is written once. If its connection breaks, it fails, also if it is a GET: the server may have
    seen it (docs/decisions/no-resend.md). So that this stays rare, an idle connection is dropped as soon as
    the server hangs up, and one that was idle for a while is looked at once more before it is used again.

    Attributes:
        origin: Where to.
        connections_opened: How many there have been.
    """

    def __init__(self, origin: Origin, *, timeout_s: float = 30.0, connect_timeout_s: float = 10.0) -> None:
        """Open no connection yet.

        Args:
            origin: Where to.
            timeout_s: From sending until the answer is whole, connecting included.
            connect_timeout_s: Until a connection stands; never beyond ``timeout_s``.
        """
        self.origin = origin
        self.connections_opened = 0
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[Connection] = []
        self._is_closed = False

    def exchange(self, request: bytes, *, head_only: bool = False, timeout_s: float | None = None) -> Answer:
        """Send one request, once, and give the whole answer; see ``send``."""
        answer = Answer()
        self.send(request, answer, head_only=head_only, timeout_s=timeout_s)
        return answer

    def send(
        self, request: bytes, answer: Answer, *, head_only: bool = False, timeout_s: float | None = None
    ) -> None:
        """Send one request, once, and wait for the whole answer.

        Args:
            request: Head and body, as ``request_encoding.encode`` makes it.
            answer: Is filled.
            head_only: It is a HEAD request.
            timeout_s: Instead of the client's.

        Raises:
            TransportFailure: No answer.
        """
        now = perf_counter()
        deadline = now + (self._timeout_s if timeout_s is None else timeout_s)
        idle = self._idle
        connection = idle.pop() if idle else None  # the one used last, so that those not needed grow old
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
        """That connection if it is still open, another idle one, or a new one."""
        while connection is not None:
            if connection.is_still_open():
                return connection
            connection = self._idle.pop() if self._idle else None
        connection, answer.opening = connect(self.origin, min(deadline, now + self._connect_timeout_s))
        self.connections_opened += 1
        return connection

    def close(self) -> None:
        """Hang up on every idle connection, and on the others once they have their answer."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """The loop holds what it watches, so idle connections do not go by themselves."""
        for connection in getattr(self, "_idle", ()):
            connection.close_from_anywhere()


def origin_of(base_url: str, *, tls: ssl.SSLContext | None = None, verify: bool = True) -> Origin:
    """The origin of a URL.

    Args:
        base_url: Begins with ``http://`` or ``https://``.
        tls: Used for ``https``; by default one that trusts what the system trusts, or ``SSL_CERT_FILE``.
        verify: False trusts any certificate; not together with ``tls``.

    Raises:
        UsageError: It is not such a URL.
    """
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{base_url}: not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise UsageError(f"{base_url}: a target begins with http:// or https:// and a host")
    if parts.scheme == "http":
        return Origin(host=host, port=port or 80, tls=None)
    return Origin(host=host, port=port or 443, tls=tls or tls_context(verify=verify))


def tls_context(*, verify: bool = True) -> ssl.SSLContext:
    """Whom to trust; takes some 10 ms to make, so share it.

    Args:
        verify: False trusts any certificate.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
