"""Turns a request into bytes, and what came into an exchange without secrets."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

import httpx

from knouds_harness.body_bounds import KEPT_BYTES
from knouds_harness.exchange.evidence import (
    KEY_HEADER,
    KEY_HERE,
    TRACE_HEADER,
    Exchange,
    Pairs,
    Request,
    parsed_json,
)
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.transport import Transport, text_pairs
from knouds_harness.targets.http_settings import DEFAULT_HEADERS
from knouds_harness.targets.profile import Target
from knouds_harness.targets.secrets import Secret


class Sender:
    """Sends requests to one target, whatever its limits, and makes an exchange of each.

    It uses an httpx transport without an httpx client: no cookies, no redirects, no proxy or netrc from the
    environment, and no request is ever sent twice (docs/decisions/no-resend.md).
    """

    def __init__(
        self,
        target: Target,
        *,
        redactor: Redactor,
        transport: httpx.BaseTransport | None,
        now: Callable[[], datetime],
    ) -> None:
        http = target.http
        base = httpx.URL(target.base_url)
        self.host = base.host
        self._redactor = redactor
        self._default_headers = (*DEFAULT_HEADERS, *http.revealed_headers)
        self._is_traced = http.is_traced
        self._has_proxy = bool(http.proxy)
        self._parsed_url = lru_cache(maxsize=256)(lambda path: base.copy_with(raw_path=path.encode()))
        self._origin = str(base.copy_with(raw_path=b"/")).removesuffix("/")
        self._base_path = base.raw_path.decode().rstrip("/")
        self._transport = Transport(target, transport=transport)
        self._now = now
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._transport.close()

    def _http_request(self, request: Request, key: Secret | None) -> httpx.Request:
        target = f"{self._base_path}{request.path_and_query}"
        given = {name.lower() for name, _ in request.headers}
        headers = [pair for pair in self._default_headers if pair[0].lower() not in given]
        headers += request.headers
        if key is not None:
            if all(value != KEY_HERE for _, value in headers):
                headers.append((KEY_HEADER, KEY_HERE))
            headers = [(name, key.reveal() if value == KEY_HERE else value) for name, value in headers]
        return httpx.Request(
            request.method,
            self._parsed_url(target),
            headers=[(name.encode(), _header_bytes(value)) for name, value in headers],
            content=request.body,
            # Without "target", the library resolves dot segments; a proxy needs the whole URL instead.
            extensions={"target": target.encode()} if "/." in target and not self._has_proxy else {},
        )

    def _new_trace(self, request: Request) -> Pairs:
        """Make a header that identifies this request in the server's traces; it holds no secret."""
        if not self._is_traced or any(name.lower() == TRACE_HEADER for name, _ in request.headers):
            return ()
        ids = os.urandom(24).hex()
        return ((TRACE_HEADER, f"00-{ids[:32]}-{ids[32:]}-01"),)

    def send(
        self, request: Request, key: Secret | None, *, kept: Callable[[bytes], bytes] = lambda body: body
    ) -> Exchange:
        """Send a request, once, with a key or without one; ``kept`` returns what may be kept of the body."""
        number = next(self._numbers)
        http_request = self._http_request(request, key)
        trace = self._new_trace(request)
        started_at, start = self._now(), time.perf_counter()
        http_request.headers.update(trace)
        received = self._transport.send(http_request, is_abandoned=request.is_abandoned)
        elapsed_ms = (time.perf_counter() - start) * 1000
        redactor = self._redactor
        sent_headers = tuple(pair for pair in text_pairs(http_request.headers) if pair not in trace)
        altered = redactor.altered(key.reveal()) if key else None
        body = kept(received.body)
        left_out = b""
        problem = parsed_json(body)[1] if len(body) > KEPT_BYTES else None
        if problem is not None:  # only the problem is judged; the rest is not JSON either
            left_out = f"\n... {len(body):,} bytes, {problem}".encode()
            body = body[:KEPT_BYTES]
        exchange = Exchange(
            id=f"x{number:05d}",
            request=request,
            url=f"{self._origin}{self._base_path}{request.path_and_query}",
            sent_headers=sent_headers,
            status=received.status if received.failure is None else None,
            headers=received.headers,
            body=body,
            started_at=started_at,
            elapsed_ms=elapsed_ms,
            failure=received.failure,
            is_lost=received.is_lost,
            alteration=redactor.alteration(key.reveal()) if key and altered else None,
        )
        clean = redactor.exchange(exchange, altered, is_cut=bool(received.failure or left_out))
        return replace(clean, sent_headers=(*clean.sent_headers, *trace), body=clean.body + left_out)


def _header_bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
