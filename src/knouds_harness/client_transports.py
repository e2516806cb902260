"""Transports for a client under test that judge its traffic, or write it to a HAR file."""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, cast

import httpx

from knouds_harness.exchange.evidence import KEY_HEADER, Exchange, Pairs
from knouds_harness.exchange.har import HarWriter, observed_request
from knouds_harness.exchange.redaction import HIDDEN, Redactor
from knouds_harness.exchange.traffic_redaction import is_secret_name
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import finding_of, judge
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.run_file import RunPersona
from knouds_harness.targets.secrets import Secret

_CLOSED_EARLY: Final = "the client closed the answer before its end"


class ObservedTraffic:
    """Numbers what was observed, and names each key: as it is known, or ``client-1`` and so on."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._redactor = Redactor()
        self._name_by_key: dict[str, str] = {}
        self._numbers = itertools.count(1)
        for name, value in (keys or {}).items():
            self._know(value, name)

    def _know(self, key: str, name: str) -> None:
        self._name_by_key[key] = name
        self._redactor.add(Secret(key, f"key:{name}"))

    def without_secrets(self, exchange: Exchange, *, names_keys: bool = False) -> Exchange:
        """Return one exchange, whose header names are in lower case, with a number and without secrets.

        With ``names_keys`` a key that is not known yet gets a name; otherwise it is hidden.
        """
        key = dict(exchange.sent_headers).get(KEY_HEADER)
        if names_keys and key and key not in self._name_by_key:
            self._know(key, f"client-{len(self._name_by_key) + 1}")
        sent = tuple(
            (name, HIDDEN if is_secret_name(name) and value not in self._name_by_key else value)
            for name, value in exchange.sent_headers
        )
        headers = tuple(pair for pair in sent if pair[0] != KEY_HEADER)
        request = replace(exchange.request, headers=headers, persona=self._name_by_key.get(key or ""))
        number = f"x{next(self._numbers):05d}"
        return self._redactor.exchange(replace(exchange, id=number, request=request, sent_headers=sent))


class KnownAccount(Protocol):
    """A key, and what is known of it and its account."""

    @property
    def key(self) -> str: ...

    @property
    def persona(self) -> RunPersona: ...


class _ObservedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Hands on a body as it comes, and at its end the whole to ``observe``, or in words why it broke off."""

    def __init__(self, inner: object, observe: Callable[[bytes | str], None]) -> None:
        self._inner = inner
        self._observe: Callable[[bytes | str], None] | None = observe

    def __iter__(self) -> Iterator[bytes]:
        parts = []
        try:
            for part in cast("httpx.SyncByteStream", self._inner):
                parts.append(part)
                yield part
        except httpx.TransportError as error:
            self._end(_words(error))
            raise
        self._end(b"".join(parts))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = []
        try:
            async for part in cast("httpx.AsyncByteStream", self._inner):
                parts.append(part)
                yield part
        except httpx.TransportError as error:
            self._end(_words(error))
            raise
        self._end(b"".join(parts))

    def close(self) -> None:
        cast("httpx.SyncByteStream", self._inner).close()
        self._end(_CLOSED_EARLY)

    async def aclose(self) -> None:
        await cast("httpx.AsyncByteStream", self._inner).aclose()
        self._end(_CLOSED_EARLY)

    def _end(self, body: bytes | str) -> None:
        observe, self._observe = self._observe, None
        if observe is not None:
            observe(body)


class _ObservingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends by another transport, and observes each exchange once the client has read the whole answer."""

    def __init__(
        self,
        inner: httpx.BaseTransport | httpx.AsyncBaseTransport | None,
        account: KnownAccount | None = None,
    ) -> None:
        self._inner = inner
        self._traffic = ObservedTraffic({account.persona.name: account.key} if account else None)

    @abstractmethod
    def _observe(self, exchange: Exchange) -> None: ...

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        inner = self._inner = self._inner or httpx.HTTPTransport()
        assert isinstance(inner, httpx.BaseTransport), "an async transport serves httpx.AsyncClient"  # noqa: S101 - a mistake of the test's
        request.read()
        began = time.time()
        try:
            return self._observed(request, began, inner.handle_request(request))
        except httpx.TransportError as error:
            self._observe(self._exchange(request, began, failure=_words(error)))
            raise

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        inner = self._inner = self._inner or httpx.AsyncHTTPTransport()
        assert isinstance(inner, httpx.AsyncBaseTransport), "a sync transport serves httpx.Client"  # noqa: S101 - the same
        await request.aread()
        began = time.time()
        try:
            return self._observed(request, began, await inner.handle_async_request(request))
        except httpx.TransportError as error:
            self._observe(self._exchange(request, began, failure=_words(error)))
            raise

    def close(self) -> None:
        if isinstance(self._inner, httpx.BaseTransport):
            self._inner.close()

    async def aclose(self) -> None:
        if isinstance(self._inner, httpx.AsyncBaseTransport):
            await self._inner.aclose()

    def _observed(self, request: httpx.Request, began: float, response: httpx.Response) -> httpx.Response:
        """Return the answer with a stream that has it observed when it ends."""

        def observe(body: bytes | str) -> None:
            if isinstance(body, str):
                exchange = self._exchange(request, began, failure=body)
            else:
                decoded = httpx.Response(response.status_code, headers=response.headers, content=body).content
                exchange = self._exchange(request, began, response, decoded)
            self._observe(exchange)

        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_ObservedStream(response.stream, observe),
            extensions=response.extensions,
        )

    def _exchange(
        self,
        request: httpx.Request,
        began_unix_s: float,
        response: httpx.Response | None = None,
        body: bytes = b"",
        *,
        failure: str | None = None,
    ) -> Exchange:
        url = f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.raw_path.decode()}"
        exchange = Exchange(
            id="",
            request=observed_request(request.method, url, request.content or None),
            url=url,
            sent_headers=header_texts(request.headers.raw),
            status=response.status_code if response else None,
            headers=header_texts(response.headers.raw if response else ()),
            body=body,
            started_at=datetime.fromtimestamp(began_unix_s, UTC),
            elapsed_ms=(time.time() - began_unix_s) * 1000,
            failure=failure,
        )
        return self._traffic.without_secrets(exchange, names_keys=True)


class JudgingTransport(_ObservingTransport):
    """Judges each answer that a client gets, with all that its earlier traffic has shown.

    Serves ``httpx.Client`` and ``httpx.AsyncClient``. The client gets an answer's bytes as they come; it is
    judged once, when the last has been read, and not at all if the client closes it before. Of redirects that
    the client follows, each answer is judged. A request's body is read whole before it is sent.

    Attributes:
        findings: The promises that were broken so far, also if the client caught the exception.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
        *,
        account: KnownAccount | None = None,
        strict: bool = False,
    ) -> None:
        """Send by ``inner``, by default over the network.

        Args:
            inner: The transport that sends.
            account: What the client's key may do, such as the fixture ``knouds_sandbox``: then a refusal
                that it cannot get is a finding, too.
            strict: Whether assumptions have to hold, too.
        """
        super().__init__(inner, account)
        self.findings: list[Finding] = []
        keys = {account.persona.name: account.persona} if account else {}
        self._context = Context(
            keys=keys,
            resources=KnownResources(user_of=lambda name: keys[name].user if name in keys else None),
        )
        self._failing = {Verdict.BREACH, Verdict.CONFLICT, *((Verdict.ASSUMPTION,) if strict else ())}

    def _observe(self, exchange: Exchange) -> None:
        """Judge one exchange.

        Raises:
            AssertionError: It breaks a promise; names the fact, what was expected and what was observed.
        """
        if exchange.status is None:
            return
        self._context.resources.note(exchange)
        findings = [
            finding_of(check, exchange, claim)
            for check, claim in judge(exchange, self._context)
            if not claim.holds
        ]
        broken = [each for each in findings if each.verdict in self._failing]
        self.findings += broken
        if broken:
            lines = [f"{each.fact}: {each.difference}" for each in broken]
            asked = f"{exchange.request.method} {exchange.request.path}, answered {exchange.status}"
            raise AssertionError("\n  ".join([f"{asked}, breaks the contract", *lines, broken[0].curl]))


class HarTransport(_ObservingTransport):
    """Writes what a client sends and gets, without secrets, to a HAR file for ``knouds-harness verify``.

    Serves one ``httpx.Client`` or ``httpx.AsyncClient``, and is closed with it. The file is always valid.
    """

    def __init__(
        self, path: Path | str, inner: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Write to this file, and send by ``inner``, by default over the network.

        Raises:
            OSError: The file cannot be written.
        """
        super().__init__(inner)
        self._writer = HarWriter(Path(path))

    def close(self) -> None:
        self._writer.close()
        super().close()

    async def aclose(self) -> None:
        self._writer.close()
        await super().aclose()

    def _observe(self, exchange: Exchange) -> None:
        self._writer.add(exchange)


def header_texts(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)


def _words(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
