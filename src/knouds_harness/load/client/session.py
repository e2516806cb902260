"""``self.client`` of Locust users: the methods that they know, one Locust event per request."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from binascii import hexlify
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import JSONEncoder
from os import urandom
from time import perf_counter, time
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from locust.event import EventHook
from locust.user.users import User
from pydantic_core import to_json

from knouds_harness.load.client.http_answer import TransportFailure
from knouds_harness.load.client.http_client import HttpClient, complete, encode_head, origin_of
from knouds_harness.load.client.response import Response

_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_MOST_HEADS = 4096
_TRACES_AT_ONCE = 64
_JSON = "application/json"
_dumps = JSONEncoder().encode  # as json.dumps, without checking its ten arguments

Pairs = Mapping[str, Any] | Sequence[tuple[str, Any]]
Body = str | bytes | Pairs | None
Headers = Mapping[str, str | None]
"""By name; None leaves out a header that is sent by default."""
SomeHeaders = tuple[tuple[str, str | None], ...]
"""The same as pairs."""
SenderHeaders = tuple[tuple[str, str], ...]
"""The key, and the profile's extra headers for each request, as pairs."""


def _trace_lines() -> Iterator[bytes]:
    """Yield header lines with new trace ids, not sampled: tracing all load would distort the measurement."""
    while True:
        ids = hexlify(urandom(24 * _TRACES_AT_ONCE))
        for at in range(0, len(ids), 48):
            yield b"traceparent: 00-%b-%b-00\r\n" % (ids[at : at + 32], ids[at + 32 : at + 48])


_trace_line = _trace_lines().__next__  # starts with the first request, so that forked processes differ


class Head(NamedTuple):
    """The head of requests that are alike, encoded once; if they are traced, a ``traceparent`` follows."""

    client: HttpClient
    encoded: bytes
    is_traced: bool


class PreparedRequest(NamedTuple):
    """A request encoded for one session; its ``traceparent`` is inserted at ``traced_at``, if not 0."""

    client: HttpClient
    method: str
    url: str
    name: str
    request: bytes
    traced_at: int = 0


class Recorder(Protocol):
    """A listener of Locust's ``request`` event that can be told of a response of ours without it."""

    def on_request(self, **told: Any) -> None:  # noqa: ANN401 - Locust's event
        """Listen to the event."""

    def note(self, response: Response, name: str, exception: Exception | None) -> None:
        """Note the same."""


def _sending(method: str) -> Callable[..., Response]:
    def send(session: Session, url: str, data: Body = None, json: Any = None, **options: Any) -> Response:  # noqa: ANN401
        """Send one request; arguments as for ``request``."""
        return session.request(method, url, data=data, json=json, **options)

    return send


class Session:
    """Sends requests, and fires Locust's event for each with the arguments of Locust's own clients.

    No cookies, no redirects, nothing sent twice. Any number of greenlets of one thread may share it.

    Attributes:
        is_traced: Send a new ``traceparent`` with each request to the base URL that has none; set it before
            the first.
        request_name: The name in statistics of requests that have none of their own.
        admit: Called with the bytes of each request to the base URL's server before they are sent; may raise.
            The caller of ``exchange`` has to judge for itself.
        recorder: Called directly for each request, if it is the only listener to its event: that costs less.
        in_flight: The name and the time of sending of each request that is not answered yet, in their order.
        scheduled_at: Set it, on ``time.perf_counter``'s clock, to count the response time of the next request
            from that instant instead of from sending; it is used once.
    """

    def __init__(
        self,
        base_url: str,
        request_event: EventHook,
        *,
        user: User | None = None,
        default_headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        connect_timeout_s: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Open no connection yet; raise ``UsageError`` if ``base_url`` is not a URL.

        ``tls`` says whom to trust: share one, as it takes some 10 ms to make.
        """
        self.base_url = base_url.rstrip("/")
        self.is_traced = False
        self.request_name: str | None = None
        self.admit: Callable[[bytes], object] | None = None
        self.recorder: Recorder | None = None
        self.in_flight: dict[Response, tuple[str, float]] = {}
        self.scheduled_at: float | None = None
        self._event = request_event
        self.user = user
        self._timeouts: dict[str, float] = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s}
        self._tls = tls
        self._clients: dict[tuple[str, str], HttpClient] = {}
        self.client, self._path = self._client_for(self.base_url)
        self._path = self._path.rstrip("/")
        self._defaults = {
            "User-Agent": "knouds-harness",
            "Accept-Encoding": "gzip, deflate, br",
            **(default_headers or {}),
        }
        self._heads_by_sender: dict[SenderHeaders, dict[tuple[Any, ...], Head]] = {}
        self.act_as(())

    def act_as(self, sender_headers: SenderHeaders) -> None:
        """Send these headers with each request to the base URL from now on, unless a request has its own.

        Other servers never get them. Requests that were prepared before keep their headers.
        """
        self._sender_headers = sender_headers
        self._heads = self._heads_by_sender.setdefault(sender_headers, {})

    def request(  # noqa: PLR0917 - the places that Locust's own clients give them
        self,
        method: str,
        url: str,
        name: str | None = None,
        data: Body = None,
        catch_response: bool = False,  # noqa: FBT001, FBT002 - as in Locust's own clients
        headers: Headers | None = None,
        auth: tuple[str, str] | None = None,
        json: Any = None,  # noqa: ANN401
        params: Pairs | None = None,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,  # noqa: ARG002, FBT001, FBT002 - a redirect is an answer, never followed
    ) -> Response:
        """Send one request and wait for the whole response.

        Args:
            method: Uppercase.
            url: A path, appended to the base URL; or absolute, for another server.
            name: Its name in statistics; by default ``url``. Use the operationId.
            data: The body: text, bytes, or pairs for a form.
            catch_response: Fire the event at the end of a with-block over the response, which may call
                ``success()`` or ``failure()``.
            headers: Added to the session's; None leaves the session's header of that name out.
            auth: Name and password, for Basic.
            json: The body if there is no ``data``.
            params: The query.
            context: Passed to the event.
            timeout: Seconds until the response must be complete.
            allow_redirects: Accepted for Locust's sake; redirects are never followed.

        Returns:
            The response; if none came, ``status_code`` is 0 and ``error`` says why.
        """
        name = name or self.request_name or url
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params, doseq=True)}"
        body, content_type = (None, "") if data is None and json is None else _body_and_type(data, json)
        if auth:
            basic = b64encode(":".join(auth).encode()).decode()
            headers = {**(headers or {}), "Authorization": f"Basic {basic}"}
        head = self.head_of(method, url, tuple(headers.items()) if headers else (), content_type)
        request = _completed(head, method, body)
        return self._send(head.client, method, url, request, name, context, timeout, catch_response)

    def head_of(self, method: str, url: str, headers: SomeHeaders, content_type: str = "") -> Head:
        """Return the head of such a request to a URL; ``headers`` as for ``request``, as pairs."""
        key = (method, url, content_type, headers)
        return self._heads.get(key) or self._new_head(key)

    def prepare(
        self,
        method: str,
        url: str,
        *,
        name: str,
        data: Body = None,
        json: Any = None,  # noqa: ANN401
        headers: Headers | None = None,
    ) -> PreparedRequest:
        """Encode a request once, to be sent often by ``send``; arguments as for ``request``."""
        body, content_type = _body_and_type(data, json)
        head = self._new_head((method, url, content_type, tuple((headers or {}).items())))
        request = complete(head.encoded, method, body)
        return PreparedRequest(
            head.client, method, url, name, request, len(head.encoded) if head.is_traced else 0
        )

    def send(
        self,
        prepared: PreparedRequest,
        *,
        catch_response: bool = False,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send what ``prepare`` made; arguments as for ``request``."""
        client, method, url, name, request, traced_at = prepared
        if traced_at:
            request = request[:traced_at] + _trace_line() + request[traced_at:]
        return self._send(client, method, url, request, name, context, timeout, catch_response)

    def _send(  # noqa: PLR0917 - names would cost time with each request
        self,
        client: HttpClient,
        method: str,
        url: str,
        request: bytes,
        name: str,
        context: Mapping[str, Any] | None,
        timeout_s: float | None,
        catch_response: bool,  # noqa: FBT001
    ) -> Response:
        if self.admit is not None and client is self.client:
            self.admit(request)
        response = self._exchange(client, method, url, request, name, timeout_s)
        if catch_response:
            response.catch(self._event, self._told(response, name, response.failure_by_status(), context))
        else:
            self.tell(response, name, response.failure_by_status(), context)
        return response

    def exchange(self, head: Head, method: str, url: str, json: Any = None, *, name: str) -> Response:  # noqa: ANN401 - a body
        """Send a request with this head and wait for the whole response; the caller has to ``tell`` of it."""
        body = None if json is None else _encoded(json)
        return self._exchange(head.client, method, url, _completed(head, method, body), name, None)

    def _exchange(  # noqa: PLR0917 - as in _send
        self, client: HttpClient, method: str, url: str, request: bytes, name: str, timeout_s: float | None
    ) -> Response:
        response = Response()
        response.method = method
        response.sent = request
        response.url = url if url[:4] == "http" else self.base_url + url
        response.start_unix_s = time()
        start = perf_counter()
        self.in_flight[response] = name, start
        try:
            client.send(request, response, head_only=method == "HEAD", timeout_s=timeout_s)
        except TransportFailure as failure:
            response.error = failure
            response.arrived_at = perf_counter()
        finally:
            del self.in_flight[response]
        response.elapsed_ms = response.response_ms = (response.arrived_at - start) * 1000
        scheduled_at, self.scheduled_at = self.scheduled_at, None
        if scheduled_at is not None:
            response.response_ms += (start - scheduled_at) * 1000
        return response

    def tell(
        self,
        response: Response,
        name: str,
        exception: Exception | None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Fire the event of a request; an exception makes it a failure."""
        recorder = self.recorder
        if recorder is not None and self._event._handlers == [recorder.on_request]:  # noqa: SLF001 - Locust has no other way
            recorder.note(response, name, exception)
        else:
            self._event.fire(**self._told(response, name, exception, context))

    def _told(
        self, response: Response, name: str, exception: Exception | None, context: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        told: dict[str, Any] = self.user.context() if self.user else {}
        return {
            "request_type": response.method,
            "name": name,
            "response_time": response.response_ms,
            "response_length": len(response.raw_body),
            "response": response,
            "context": {**told, **context} if context else told,
            "exception": exception,
            "start_time": response.start_unix_s,
            "url": response.url,
        }

    def _new_head(self, key: tuple[str, str, str, SomeHeaders]) -> Head:
        method, url, content_type, headers = key
        client, target = self.client, self._path + url
        if _ABSOLUTE.match(url):
            client, target = self._client_for(url)
        given = [*self._defaults.items()]
        if client is self.client:
            given += self._sender_headers
        if content_type:
            given.append(("Content-Type", content_type))
        if content_type == _JSON:
            given.append(("Accept", _JSON))
        by_name = {header.lower(): (header, value) for header, value in (*given, *headers)}  # the last counts
        pairs = [(header, value) for header, value in by_name.values() if value is not None]
        is_traced = self.is_traced and client is self.client and "traceparent" not in by_name
        head = Head(client, encode_head(method, target, client.origin.authority, pairs), is_traced)
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[key] = head
        return head

    def _client_for(self, url: str) -> tuple[HttpClient, str]:
        """Return the client of a URL's origin, and what follows the origin."""
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        if origin not in self._clients:
            self._clients[origin] = HttpClient(origin_of(url, tls=self._tls), **self._timeouts)
        return self._clients[origin], f"{parts.path}{parts.query and f'?{parts.query}'}"

    @contextmanager
    def rename_request(self, name: str) -> Iterator[None]:
        """Count all requests in a with-block under one name."""
        self.request_name = name
        try:
            yield
        finally:
            self.request_name = None

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    get, head, options = _sending("GET"), _sending("HEAD"), _sending("OPTIONS")
    post, put, patch, delete = _sending("POST"), _sending("PUT"), _sending("PATCH"), _sending("DELETE")


def _completed(head: Head, method: str, body: bytes | None) -> bytes:
    encoded = head.encoded + _trace_line() if head.is_traced else head.encoded
    return complete(encoded, method, body)


def _body_and_type(data: Body, json: object) -> tuple[bytes | None, str]:
    if json is not None and not data:
        return _dumps(json).encode(), _JSON
    if data is None:
        return None, ""
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    if isinstance(data, bytes):
        return data, "application/octet-stream"
    return urlencode(data, doseq=True).encode(), "application/x-www-form-urlencoded; charset=utf-8"


def _encoded(value: object) -> bytes:
    try:
        return to_json(value, inf_nan_mode="constants")  # in a fifth of the time of json.dumps
    except ValueError:  # a text that is not Unicode, which json.dumps escapes; or what JSON has not
        return _dumps(value).encode()
