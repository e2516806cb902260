"""Getting one request to the server, once, and its answer back, whole."""

import os
import ssl
from collections.abc import Callable
from typing import cast

import httpx

from knouds_harness.body_bounds import KEPT_BYTES, MAX_BODY_BYTES, decoded
from knouds_harness.errors import UsageError
from knouds_harness.exchange.deadlines import Deadline, DeadlineTransport
from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.failures import FAILURES, BodyTooLong, DeadlinePassed, describe
from knouds_harness.targets.http_settings import HttpSettings

# A server that closes idle connections after 5 s, as many do, must not do so just as one is used again.
_KEEPALIVE_S = 3.0


MakeTransport = Callable[[Deadline], httpx.BaseTransport]


class Transport:
    """A transport with a bound on how long an answer may be and take."""

    def __init__(
        self,
        make_transport: MakeTransport,
        *,
        timeout_s: float,
        clock: Callable[[], float],
        proxy: str = "",
    ) -> None:
        """Open no connection yet."""
        self._deadline = Deadline(clock)
        self._transport = make_transport(self._deadline)
        self._timeout_s = timeout_s
        self._proxy = proxy
        # Once a server has closed a connection without saying so, each request gets one of its own.
        self._is_reuse_unsafe = False
        self._extensions = {"timeout": dict.fromkeys(("connect", "read", "write"), timeout_s)}

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    @property
    def is_lost(self) -> bool:
        """Whether the thread's last request may have met a connection that was closed just before."""
        return self._deadline.is_lost

    def send(self, request: httpx.Request) -> tuple[int | None, Pairs, bytes, str | None]:
        """Send, and read the answer to its end: status, headers, body and, if it did not get there, why."""
        status: int | None = None
        headers: Pairs = ()
        body = bytearray()
        request.extensions = {**request.extensions, **self._extensions}
        if self._is_reuse_unsafe:
            request.headers["connection"] = "close"
        try:
            with self._deadline.within(self._timeout_s):
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
