"""Send a request once, and read its whole response, within one deadline.

The libraries have a timeout for each wait; the deadline holds for all waits of an exchange together.
"""

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import httpcore
import httpx

from knouds_harness.body_bounds import (
    KEPT_BYTES,
    MAX_BODY_BYTES,
    TOO_LONG,
    BodyTooLong,
    UndecodableBody,
    decoded,
)
from knouds_harness.errors import UsageError
from knouds_harness.exchange.evidence import Pairs
from knouds_harness.targets.http_settings import Proxy
from knouds_harness.targets.profile import Target


class Deadline(threading.local):
    """The deadline of the current exchange of each thread, and the state of its connection.

    Attributes:
        is_reused: Whether the exchange uses a connection on which a response came before.
        is_answered: Whether any byte of the response has come.
    """

    def __init__(self) -> None:
        self._at_s = float("inf")
        self.is_reused = self.is_answered = self.is_abandoned = False

    @contextmanager
    def within(self, seconds: float, *, is_abandoned: bool) -> Iterator[None]:
        self._at_s = time.perf_counter() + seconds
        self.is_reused = self.is_answered = False
        self.is_abandoned = is_abandoned
        try:
            yield
        finally:
            self._at_s = float("inf")

    @property
    def left_s(self) -> float:
        """The seconds left; negative once the deadline has passed."""
        return self._at_s - time.perf_counter()


class _Stream(httpcore.NetworkStream):
    """A connection whose waits all end at the deadline of the exchange that uses it."""

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
    """Opens connections; of a host with several addresses, to the first that accepts one in a second."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._answering: dict[str, str] = {}

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        within_s = _NEXT_ADDRESS_AFTER_S if timeout is None else min(timeout, _NEXT_ADDRESS_AFTER_S)
        for address in addresses if len(addresses) > 1 else ():
            with suppress(httpcore.ConnectTimeout, httpcore.ConnectError):
                stream = super().connect_tcp(address, port, within_s, local_address, socket_options)
                self._answering[host] = address
                return _Stream(stream, self._deadline)
        only = addresses[0] if len(addresses) == 1 else host
        stream = super().connect_tcp(only, port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline)

    def _addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, first the one that answered before; none if it is unknown."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # the library fails alike
            return []
        addresses = dict.fromkeys(str(each[4][0]) for each in found)
        return sorted(addresses, key=lambda address: address != self._answering.get(host))


def _proxy(proxy: Proxy, ssl_context: ssl.SSLContext) -> httpcore.Proxy:
    auth = (proxy.user, proxy.password.reveal() if proxy.password else "") if proxy.user else None
    return httpcore.Proxy(
        proxy.url, auth=auth, ssl_context=ssl_context if proxy.url.startswith("https") else None
    )


_NEXT_ADDRESS_AFTER_S = 1.0
# Many servers close idle connections after 5 s; reuse must not coincide with that.
_KEEPALIVE_S = 3.0
_READ_AT_ONCE_BYTES = 64 * 1024
_CLOSED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class Received(NamedTuple):
    """What came of a request; its members are those of an exchange."""

    status: int | None
    headers: Pairs
    body: bytes
    failure: str | None = None
    is_lost: bool = False


class Transport:
    """A transport that limits the size of a response, and the time that it may take."""

    def __init__(self, target: Target, *, transport: httpx.BaseTransport | None) -> None:
        """Send to a target, by its proxy and with its certificates, unless a ``transport`` is given."""
        self._deadline = Deadline()
        self._transport = transport or _http_transport(target, self._deadline)
        self._timeout_s = target.limits.timeout_s
        self._proxy = target.http.via.authority if target.http.via else ""
        # Once a server has closed a connection without notice, each request gets a new connection.
        self._is_reuse_unsafe = False
        self._extensions = {"timeout": dict.fromkeys(("connect", "read", "write"), self._timeout_s)}

    def close(self) -> None:
        self._transport.close()

    def send(self, request: httpx.Request, *, is_abandoned: bool = False) -> Received:
        """Send a request; of an abandoned one, the connection is closed without reading a response."""
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
                    for part in stream:  # still encoded: the library would decode it without a limit
                        body += part
                        if len(body) > MAX_BODY_BYTES:
                            raise BodyTooLong
                        if self._deadline.left_s < 0:
                            raise DeadlinePassed
                finally:
                    response.close()
            encoding = response.headers.get("content-encoding", "")
            return Received(status, headers, decoded(bytes(body), encoding))
        except FAILURES as error:
            if is_abandoned and isinstance(error, httpx.ReadTimeout):
                why = "abandoned: the connection was closed before an answer could come"
                return Received(None, (), b"", why, is_lost=True)
            if status is not None and isinstance(error, httpx.ReadTimeout):
                error = DeadlinePassed()
            is_lost = is_abandoned
            if not isinstance(error, httpx.TimeoutException) and self._deadline.is_reused:
                is_lost = not self._deadline.is_answered
                self._is_reuse_unsafe |= is_lost
            if isinstance(error, _CLOSED) and len(request.content) > _READ_AT_ONCE_BYTES:
                is_lost = True  # as if refused, and closed, before the whole body came
            failure = describe(
                error, authority=_authority(request.url), proxy=self._proxy, timeout_s=self._timeout_s
            )
            answered = f" (HTTP {status})" if status else ""
            # Redaction cannot find a secret in compressed bytes, so they are not kept.
            is_plain = not any(name.lower() == "content-encoding" for name, _ in headers)
            came = bytes(body[:KEPT_BYTES]) if is_plain else b""
            return Received(status, headers, came, f"{failure}{answered}", is_lost)


def _http_transport(target: Target, deadline: Deadline) -> httpx.BaseTransport:
    """Make a transport for HTTP/1.1 with keep-alive that verifies certificates and never retries."""
    http, concurrency = target.http, target.limits.concurrency
    # Plain HTTP needs no certificates, and loading the trusted ones takes 20 ms.
    is_plain = httpx.URL(target.base_url).scheme == "http" and not (
        http.via and http.via.url.startswith("https")
    )
    verified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else _trusting_context()
    if not is_plain:
        http.configure(verified)
    transport = httpx.HTTPTransport(verify=verified)
    # Replacing the pool is the only way to give the library another network backend.
    transport._pool = httpcore.ConnectionPool(  # noqa: SLF001
        ssl_context=verified,
        proxy=_proxy(http.via, verified) if http.via else None,
        max_connections=concurrency,
        max_keepalive_connections=concurrency,
        keepalive_expiry=_KEEPALIVE_S,
        retries=0,
        network_backend=_Backend(deadline),
    )
    return transport


def _trusting_context() -> ssl.SSLContext:
    """Trust the certificates of SSL_CERT_FILE or SSL_CERT_DIR, or the usual authorities."""
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
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw])


def _authority(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"


class DeadlinePassed(Exception):
    """The response was not complete by the deadline."""


FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, DeadlinePassed, UndecodableBody)
"""The exceptions of a request that come from the network or a malformed response."""


_SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (httpx.ProxyError, "the proxy {proxy} does not connect to {authority}: {error}"),
    (socket.gaierror, "the name {host} cannot be resolved"),
    (ssl.SSLCertVerificationError, "TLS: the certificate of {authority} is not trusted: {certificate}"),
    (ConnectionRefusedError, "nothing listens at {peer} (connection refused)"),
    (httpx.ConnectTimeout, "no connection to {peer} within {timeout_s:g} s"),
    (httpx.ReadTimeout, "no answer within {timeout_s:g} s"),
    (httpx.WriteTimeout, "the request could not be sent within {timeout_s:g} s"),
    (DeadlinePassed, "the answer was not complete within {timeout_s:g} s"),
    (BodyTooLong, TOO_LONG),
    # The library's own message quotes the header, which may be the key.
    (httpx.LocalProtocolError, "the request is not valid HTTP and was not sent"),
    (httpx.InvalidURL, "the request is not valid HTTP and was not sent"),
    (UndecodableBody, "the body does not fit its Content-Encoding"),
)
"""What is said of an exception, or of its cause; the first that fits."""


def describe(error: Exception, *, authority: str, timeout_s: float, proxy: str = "") -> str:
    cause = _root(error)
    peer = f"the proxy {proxy}" if proxy else authority
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind) or isinstance(cause, kind):
            return sentence.format(
                error=error,
                proxy=proxy,
                authority=authority,
                peer=peer,
                host=(proxy or authority).rpartition(":")[0],
                certificate=getattr(cause, "verify_message", ""),
                timeout_s=timeout_s,
            )
    if isinstance(error, httpx.RemoteProtocolError):
        return _broken_answer(str(error))
    return _broken_connection(error, cause, f"{authority} through {peer}" if proxy else authority)


def _broken_connection(error: Exception, cause: BaseException, server: str) -> str:
    is_tls, reason = isinstance(cause, ssl.SSLError), _reason(cause)
    if is_tls and "alert" in reason:  # also after the handshake, in TLS 1.3
        return f"TLS: {server} refuses the connection: {reason.rpartition('alert ')[2]}"
    if isinstance(error, httpx.ConnectError):
        return f"{'TLS: no handshake with' if is_tls else 'no connection to'} {server}: {reason}"
    return f"the connection broke: {reason}"


def _broken_answer(message: str) -> str:
    if "complete message body" in message:
        return f"the answer ended early: {message.removeprefix('peer closed connection without ')}"
    if "without sending a response" in message:
        return "the connection was closed before there was an answer"
    return f"the answer is not valid HTTP: {message.partition(': ')[0]}"


def _root(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
