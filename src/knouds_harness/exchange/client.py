"""The one client that every request goes through."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import httpx

from knouds_harness.contract.operations import Action
from knouds_harness.errors import TargetUnreachable, UnknownName, UsageError
from knouds_harness.exchange.delivery import Delivery, http_transport, text_pairs
from knouds_harness.exchange.evidence import JSON, Exchange, Pairs, Request
from knouds_harness.exchange.pricing import charged_credits
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.target.guards import Guard
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.profile import Target

KEY_HEADER = "x-api-key"
_DEFAULT_HEADERS: Pairs = (
    ("user-agent", "knouds-harness"),
    ("accept", "application/json"),
    ("accept-encoding", "identity"),  # so that the body kept as evidence is the body that was sent
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Client:
    """Sends requests to one target, within its limits, and keeps each exchange as evidence.

    It drives an httpx transport without httpx's own client on top: no cookies, no redirects, no proxy or
    netrc from the environment, and nothing is ever sent twice (docs/decisions/no-resend.md). Threads may
    share it.
    """

    def __init__(
        self,
        *,
        target: Target,
        guard: Guard | None = None,
        on_exchange: Callable[[Exchange], None] = lambda _: None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], datetime] = _utc_now,
        while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Open no connection yet.

        Args:
            target: Where to send, and whose keys.
            guard: Keeps the target's limits; by default a new one, which refuses production.
            on_exchange: Gets each exchange, one at a time, before ``send`` returns it.
            transport: Carries requests; HTTP/1.1 with keep-alive by default.
            clock: Monotonic seconds.
            now: Aware UTC.
            while_waiting: Open while a request waits for its turn, and then for its answer.

        Raises:
            GuardStop: The target is production and somebody has not agreed.
        """
        self.target = target
        self.guard = guard or Guard(target)
        self.redactor = Redactor()
        self._on_exchange = on_exchange
        self._base = httpx.URL(target.base_url)
        self._parsed_url = lru_cache(maxsize=256)(lambda path: self._base.copy_with(raw_path=path.encode()))
        self._base_path = self._base.raw_path.decode().rstrip("/")
        self._delivery = Delivery(
            lambda deadline: (
                transport or http_transport(self._base.scheme, target.limits.concurrency, deadline)
            ),
            timeout_s=target.limits.timeout_s,
            clock=clock,
        )
        self._clock = clock
        self._now = now
        self.while_waiting = while_waiting
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._personas: dict[str, Persona] = {}
        for persona in target.personas.values():
            self.add_persona(persona)
        for secret in (target.webhook and target.webhook.secret, target.control and target.control.token):
            if secret:
                self.redactor.add(secret)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._delivery.close()

    def add_persona(self, persona: Persona) -> None:
        """Make a persona known that the profile does not have, such as one minted while testing."""
        self._personas[persona.name] = persona
        self.redactor.add(persona.secret)

    def persona(self, name: str) -> Persona:
        """A persona of the profile, or one that was added.

        Raises:
            UnknownName: There is no such persona.
        """
        if name not in self._personas:
            raise UnknownName("persona", name, self._personas)
        return self._personas[name]

    def secret_of(self, persona: str) -> Secret:
        """The key of a persona.

        Raises:
            UnknownName: There is no such persona.
        """
        return self.persona(persona).secret

    def send(self, request: Request, *, key: str | None = None) -> Exchange:
        """Send one request, once, and wait for the whole answer.

        Args:
            request: What to send, and as which persona.
            key: Sent instead of the persona's key; for keys that were tampered with.

        Returns:
            The exchange, redacted. A failure of the network or of HTTP is an exchange with ``failure``, and
            so is an answer that is too long or takes longer than the profile's ``timeout_s``.

        Raises:
            GuardStop: The request is not allowed, or may cost more than is left.
            UnknownName: There is no such persona.
        """
        if key is None and request.persona is not None:
            key = self.secret_of(request.persona).reveal()
        what = f"{request.method} {request.path}"
        if not request.path.startswith("/"):
            raise UsageError(f"{what}: a path begins with a slash")
        url = self._url(request)
        with self.while_waiting():
            reserved = self.guard.admit(
                action=request.action, host=url.host, cost_credits=request.cost_credits, what=what
            )
            exchange = None
            try:
                with self.guard.slot():
                    exchange = self._exchange(request, url, key)
            finally:
                if reserved or request.action is Action.RUN:
                    self.guard.budget.settle(reserved, charged_credits(exchange))
        with self._lock:
            self._on_exchange(exchange)
        return exchange

    def control(self, path: str, payload: JSON) -> JSON:
        """Ask the target's control plane; the answer may hold new secrets, and is not kept as evidence.

        Args:
            path: Under the control plane's own, such as ``keys``.
            payload: Sent as JSON.

        Raises:
            UsageError: The target has none, or it refused.
            TargetUnreachable: It gave no usable answer.
        """
        control = self.target.control
        if control is None:
            raise UsageError(
                f'target "{self.target.name}" has no control plane: only the sandbox can mint keys'
            )
        request = Request(
            method="POST",
            path=f"{control.path}/{path}",
            action=Action.WRITE,
            headers=(("content-type", "application/json"), ("x-sandbox-token", control.token.reveal())),
            body=json.dumps(payload).encode(),
        )
        status, _, body, failure = self._delivery.send(self._http_request(request, self._url(request), None))
        if failure:
            raise TargetUnreachable(f"{self.target.base_url}: control plane: {failure}")
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if status is None or status >= 300 or not isinstance(answer, dict):
            reason = answer.get("error") if isinstance(answer, dict) else "the answer is not JSON"
            raise UsageError(
                f"{self.target.base_url}: control plane: {path}: {status} {self.redactor.text(str(reason))}"
            )
        return answer

    def _url(self, request: Request) -> httpx.URL:
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        return self._parsed_url(f"{self._base_path}{request.path}{query}")

    def _http_request(self, request: Request, url: httpx.URL, key: str | None) -> httpx.Request:
        given = {name.lower() for name, _ in request.headers}
        headers = [pair for pair in _DEFAULT_HEADERS if pair[0] not in given]
        headers += request.headers
        if key is not None:
            headers.append((KEY_HEADER, key))
        return httpx.Request(
            request.method,
            url,
            headers=[(name.encode(), _header_bytes(value)) for name, value in headers],
            content=request.body,
        )

    def _exchange(self, request: Request, url: httpx.URL, key: str | None) -> Exchange:
        number = next(self._numbers)
        http_request = self._http_request(request, url, key)
        started_at, start = self._now(), self._clock()
        status, headers, body, failure = self._delivery.send(http_request)
        elapsed_ms = (self._clock() - start) * 1000
        is_lost = failure is not None and self._delivery.is_lost
        redactor, altered = self.redactor, self.redactor.altered(key) if key else None
        return Exchange(
            id=f"x{number:05d}",
            request=redactor.request(request, altered),
            url=redactor.text(str(url), altered),
            sent_headers=redactor.pairs(text_pairs(http_request.headers), altered),
            status=status if failure is None else None,
            headers=redactor.pairs(headers, altered),
            body=redactor.content(body, altered),
            started_at=started_at,
            elapsed_ms=elapsed_ms,
            failure=failure and redactor.text(failure, altered),
            is_lost=is_lost,
        )


def _header_bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def health_request() -> Request:
    """What every target answers, whoever asks."""
    return Request(method="GET", path="/api/health", operation_id="getHealth", action=Action.READ)


def first_contact(client: Client) -> Exchange:
    """Ask for the target's health, to find out whether anything usable answers there at all.

    Whether the answer is the promised one is for the checks to say.

    Raises:
        TargetUnreachable: Nothing answers, or something else than the API: a proxy, a login page, a redirect.
    """
    exchange = client.send(health_request())
    where, source = client.target.base_url, client.target.source
    if exchange.failure:
        is_tls = exchange.failure.startswith("TLS")
        raise TargetUnreachable(
            f"{where}: {exchange.failure}\n  "
            + (
                "Set SSL_CERT_FILE to the certificate of the authority that signed it, if you trust it."
                if is_tls
                else f"Check that the server runs, and base_url in {source}."
            )
        )
    if exchange.status and 300 <= exchange.status < 400:
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with a redirect to {exchange.header('location')}\n"
            f"  Redirects are never followed: write the final address as base_url in {source}."
        )
    content_type = exchange.header("content-type") or ""
    if "html" in content_type.lower() or exchange.body.lstrip()[:1] == b"<":
        raise TargetUnreachable(
            f"{where}: answers {exchange.status} with HTML instead of JSON: a proxy, a login page "
            "or another service\n"
            f"  Check base_url in {source}, and whether a proxy or VPN stands between."
        )
    return exchange
