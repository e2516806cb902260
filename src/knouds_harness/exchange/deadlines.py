"""One deadline for a whole exchange, where the network alone knows a timeout for each wait."""

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from knouds_harness.targets.http_settings import Proxy


class Deadline(threading.local):
    """When the exchange of the calling thread has to be over, on a monotonic clock; far away at first.

    Attributes:
        is_reused: Whether it uses a connection that answered before.
        is_answered: Whether anything has come.
        is_lost: Whether it failed, and the server may have closed that connection just before.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at_s = float("inf")
        self.is_reused = self.is_answered = self.is_lost = False

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let the deadline be in so many seconds, while the context is open."""
        self._at_s = self._clock() + seconds
        self.is_reused = self.is_answered = self.is_lost = False
        try:
            yield
        finally:
            self._at_s = float("inf")

    @property
    def left_s(self) -> float:
        """What is left until then; negative once it has passed."""
        return self._at_s - self._clock()


class _Stream(httpcore.NetworkStream):
    """A connection whose waits all end with the deadline of the exchange that uses it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._has_answered = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._shorter(timeout, httpcore.ReadTimeout))
        if data:
            self._has_answered = self._deadline.is_answered = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._deadline.is_reused = self._has_answered
        self._stream.write(buffer, self._shorter(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = self._shorter(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as the library has it
        return self._stream.get_extra_info(info)

    def _shorter(self, timeout: float | None, error: type[Exception]) -> float | None:
        left_s = self._deadline.left_s
        if left_s <= 0:
            raise error
        return left_s if timeout is None else min(timeout, left_s)


class _Backend(httpcore.SyncBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline)


class DeadlineTransport(httpx.HTTPTransport):
    """HTTP/1.1 with keep-alive, each exchange held to the deadline of its thread; nothing is tried again."""

    def __init__(
        self,
        *,
        deadline: Deadline,
        ssl_context: ssl.SSLContext,
        limits: httpx.Limits,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(verify=ssl_context)
        # The library offers no way to hand it a network of one's own but to replace its pool.
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            proxy=_proxy(proxy, ssl_context) if proxy else None,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=True,
            http2=False,
            retries=0,
            network_backend=_Backend(deadline),
        )


def _proxy(proxy: Proxy, ssl_context: ssl.SSLContext) -> httpcore.Proxy:
    auth = (proxy.user, proxy.password.reveal() if proxy.password else "") if proxy.user else None
    return httpcore.Proxy(
        proxy.url, auth=auth, ssl_context=ssl_context if proxy.url.startswith("https") else None
    )
