"""Getting one request to the server, once, and its answer back, whole, by one deadline.

The network alone knows a timeout for each wait; an exchange has one for all of them.
"""

import os
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpcore
import httpx

from knouds_harness.body_bounds import KEPT_BYTES, MAX_BODY_BYTES, decoded
from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.failures import FAILURES, BodyTooLong, DeadlinePassed, describe
from knouds_harness.targets.http_settings import HttpSettings, Proxy


class Deadline(threading.local):
    """When the exchange of the calling thread has to be over, on a monotonic clock; far away at first.

    Attributes:
        is_reused: Whether it uses a connection that answered before.
        is_answered: Whether anything has come.
        is_abandoned: Whether no answer is waited for.
        is_lost: Whether it failed, and the server may have closed that connection just before, or it was
            abandoned.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at_s = float("inf")
        self.is_reused = self.is_answered = self.is_lost = self.is_abandoned = False

    @contextmanager
    def within(self, seconds: float, *, is_abandoned: bool = False) -> Iterator[None]:
        """Let the deadline be in so many seconds, while the context is open."""
        self._at_s = self._clock() + seconds
        self.is_reused = self.is_answered = False
        self.is_lost = self.is_abandoned = is_abandoned
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
        if self._deadline.is_abandoned:
            raise httpcore.ReadTimeout
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


# A server that closes idle connections after 5 s, as many do, must not do so just as one is used again.
_KEEPALIVE_S = 3.0


MakeTransport = Callable[[Deadline], httpx.BaseTransport]


class Transport:
    """A transport with a bound on how long an answer may be and take."""

    def __init__(
        self, make_transport: MakeTransport, *, timeout_s: float, clock: Callable[[], float], proxy: str = ""
    ) -> None:
        self._deadline = Deadline(clock)
        self._transport = make_transport(self._deadline)
        self._timeout_s = timeout_s
        self._proxy = proxy
        # Once a server has closed a connection without saying so, each request gets one of its own.
        self._is_reuse_unsafe = False
        self._extensions = {"timeout": dict.fromkeys(("connect", "read", "write"), timeout_s)}

    def close(self) -> None:
        self._transport.close()

    @property
    def is_lost(self) -> bool:
        """Whether the thread's last request may have met a connection that was closed just before."""
        return self._deadline.is_lost

    def send(
        self, request: httpx.Request, *, is_abandoned: bool = False
    ) -> tuple[int | None, Pairs, bytes, str | None]:
        """Send, and read the answer to its end: status, headers, body and, if it did not get there, why.

        An abandoned request is sent, and its connection closed without reading anything.
        """
        status: int | None = None
        headers: Pairs = ()
        body = bytearray()
        request.extensions = {**request.extensions, **self._extensions}
        if self._is_reuse_unsafe:
            request.headers["connection"] = "close"
        try:
            with self._deadline.within(self._timeout_s, is_abandoned=is_abandoned):
                response = self._transport.handle_request(request)
                stream = cast("httpx.SyncByteStream", response.stream)
                try:
                    status, headers = response.status_code, text_pairs(response.headers)
                    for part in stream:  # as sent: the library would decode it without a bound
                        body += part
                        if len(body) > MAX_BODY_BYTES:
                            raise BodyTooLong
                        if self._deadline.left_s < 0:
                            raise DeadlinePassed
                finally:
                    response.close()
            encoding = response.headers.get("content-encoding", "")
            return status, headers, decoded(bytes(body), encoding), None
        except FAILURES as error:
            if is_abandoned and isinstance(error, httpx.ReadTimeout):
                return None, (), b"", "abandoned: the connection was closed before an answer could come"
            if status is not None and isinstance(error, httpx.ReadTimeout):
                error = DeadlinePassed()
            if not isinstance(error, httpx.TimeoutException) and self._deadline.is_reused:
                self._deadline.is_lost = not self._deadline.is_answered
                self._is_reuse_unsafe |= self._deadline.is_lost
            failure = describe(
                error, authority=_authority(request.url), proxy=self._proxy, timeout_s=self._timeout_s
            )
            answered = f" (HTTP {status})" if status else ""
            # A secret in compressed bytes would not be found, so they are not kept as evidence.
            is_plain = not any(name.lower() == "content-encoding" for name, _ in headers)
            return status, headers, bytes(body[:KEPT_BYTES]) if is_plain else b"", f"{failure}{answered}"


def http_transport(
    scheme: str, concurrency: int, deadline: Deadline, http: HttpSettings
) -> httpx.BaseTransport:
    """HTTP/1.1 with keep-alive; certificates are verified, and nothing is tried again."""
    # Over plain HTTP no certificate is ever checked, and loading the trusted ones takes 20 ms.
    is_plain = scheme == "http" and not (http.via and http.via.url.startswith("https"))
    verified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else _trusting_context()
    if not is_plain:
        http.configure(verified)
    limits = httpx.Limits(
        max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=_KEEPALIVE_S
    )
    return DeadlineTransport(deadline=deadline, ssl_context=verified, limits=limits, proxy=http.via)


def _trusting_context() -> ssl.SSLContext:
    """Trust what SSL_CERT_FILE or SSL_CERT_DIR names, else the usual authorities.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        named = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
        shown = ", ".join(f"{name}={value}" for name, value in named.items()) or "the trusted certificates"
        raise UsageError(
            f"{shown}: no certificates can be read there: {error}\n"
            "  Name a file of certificates in PEM format, or unset the variable."
        ) from error


def text_pairs(headers: httpx.Headers) -> Pairs:
    """Headers in order, as text, with the case that they were sent in."""
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw])


def _authority(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"
