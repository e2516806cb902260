"""Evidence of a load run: a few exchanges of each kind that was not kept, with secrets replaced."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from knouds_harness.exchange.evidence import Exchange, Pairs, Request
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.exchange.traffic.har import from_entry, to_entry
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.seconds import Error
from knouds_harness.runs.operation_load import ErrorCount, OperationLoad, RequestStatus
from knouds_harness.targets.profile import Target

MOST_OF_A_KIND: Final = 3
"""The most exchanges that are stored of one ``Error``."""
_MOST_KINDS: Final = 100
_MOST_BYTES: Final = 100_000
_KEY_OF: Final = re.compile(r"\{\{key:([\w-]+)\}\}")


class Samples:
    """Stores exchanges of one process until they are taken."""

    def __init__(self, target: Target) -> None:
        self._redactor = Redactor.for_target(target)
        self._base_url = target.base_url
        self._counts: dict[Error, int] = {}
        self._waiting: list[tuple[Error, Exchange]] = []

    def add(self, error: Error, response: object, start_unix_s: float) -> None:
        """Store the exchange of a request that was not kept, up to a few of each kind."""
        count = self._counts.get(error, 0)
        if count >= MOST_OF_A_KIND or (not count and len(self._counts) >= _MOST_KINDS):
            return
        if not isinstance(response, Response) or not response.sent:  # another client's
            return
        self._counts[error] = count + 1
        self._waiting.append((error, self._exchange(error, response, start_unix_s)))

    def take(self) -> list[tuple[Error, Exchange]]:
        """Return the exchanges since the last call; they have no id yet."""
        taken, self._waiting = self._waiting, []
        return taken

    def packed(self) -> list[list[Any]]:
        return [[*error, json.dumps(to_entry(exchange))] for error, exchange in self.take()]

    def _exchange(self, error: Error, response: Response, start_unix_s: float) -> Exchange:
        head, _, body = response.sent.partition(b"\r\n\r\n")
        headers = self._redactor.pairs(_headers_of(head))
        url = urlsplit(response.url)
        base_path = urlsplit(self._base_url).path
        request = Request(
            method=response.method,
            path=url.path.removeprefix(base_path),
            query=tuple(parse_qsl(url.query, keep_blank_values=True)),
            headers=headers,
            body=body[:_MOST_BYTES] or None,
            operation_id=error.operation.removesuffix(" async"),
            persona=_persona_of(headers),
        )
        try:
            content = response.content or b""
            failure = response.error
        except ValueError as undecodable:  # secrets cannot be found in it
            content, failure = b"", undecodable
        answered: Pairs = tuple(
            (name, value) for name in response.headers for value in response.headers.get_all(name)
        )
        return Exchange(
            id="",
            request=self._redactor.request(request),
            url=self._redactor.text(response.url),
            sent_headers=headers,
            status=response.status_code or None,
            headers=self._redactor.pairs(answered),
            body=self._redactor.cut_content(content[:_MOST_BYTES]),
            started_at=datetime.fromtimestamp(start_unix_s, UTC),
            elapsed_ms=response.elapsed_ms,
            failure=self._redactor.safe(str(failure)) if failure else None,
        )


class SampleWriter:
    """Writes the samples of all processes in the leading one: up to a few of each kind, with ids."""

    def __init__(self, write: Callable[[Exchange], object]) -> None:
        self._write = write
        self._ids: dict[Error, list[str]] = {}
        self._number = 0

    def add(self, error: Error, exchange: Exchange) -> None:
        """Write an exchange, unless there are enough of its kind."""
        ids = self._ids.setdefault(error, [])
        if len(ids) < MOST_OF_A_KIND:
            self._number += 1
            ids.append(f"x{self._number:05d}")
            self._write(replace(exchange, id=ids[-1]))

    def receive(self, packed: list[list[Any]]) -> None:
        for operation, status, status_code, code, entry in packed:
            self.add(
                Error(operation, RequestStatus(status), status_code, code), from_entry(json.loads(entry))
            )

    def named_in(self, operations: tuple[OperationLoad, ...]) -> tuple[OperationLoad, ...]:
        """Return the metrics with the ids of the exchanges that show each error."""
        return tuple(
            replace(
                each,
                errors=tuple(
                    replace(error, exchanges=tuple(self._ids.get(_kind(each.operation, error), ())))
                    for error in each.errors
                ),
            )
            for each in operations
        )


def _kind(operation: str, error: ErrorCount) -> Error:
    return Error(operation, RequestStatus(error.status), error.status_code or 0, error.code)


def _headers_of(head: bytes) -> Pairs:
    lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
    return tuple((name, value) for name, _, value in lines)


def _persona_of(headers: Pairs) -> str | None:
    values: Mapping[str, str] = {name.lower(): value for name, value in headers}
    found = _KEY_OF.fullmatch(values.get("x-api-key", ""))
    return found[1] if found else None
