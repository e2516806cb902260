"""Evidence of a load run: a few exchanges of each kind that was not ok, with secrets replaced."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.rows import MOST_OF_A_KIND
from knouds_harness.load.collection.seconds import Error
from knouds_harness.runs.operation_load import ErrorCount, OperationLoad, RequestStatus, unlabelled
from knouds_harness.targets.profile import Target

_MOST_KINDS: Final = 100
_MOST_BYTES: Final = 100_000


class SampleWriter:
    """Writes exchanges of requests that were not ok: up to a few of each kind, with ids."""

    def __init__(
        self,
        target: Target | None,
        write: Callable[[Exchange], object],
        *,
        cost_credits_by_path: Mapping[str, float],
    ) -> None:
        """``cost_credits_by_path`` has the most that a run may cost."""
        self._redactor = Redactor.for_target(target) if target else Redactor()
        self._base_path = urlsplit(target.base_url).path if target else ""
        self._write = write
        self._cost_credits_by_path = cost_credits_by_path
        self._ids: dict[Error, list[str]] = {}

    def add(self, error: Error, answer: Response) -> None:
        """Write an exchange, unless there are enough of its kind."""
        error = error._replace(code=self._redactor.safe(error.code))
        if error not in self._ids and len(self._ids) >= _MOST_KINDS:
            return
        ids = self._ids.setdefault(error, [])
        if len(ids) < MOST_OF_A_KIND and answer.sent:
            ids.append(f"x{sum(map(len, self._ids.values())) + 1:05d}")
            self._write(replace(self._exchange(error, answer), id=ids[-1]))

    def named_in(self, operations: tuple[OperationLoad, ...]) -> tuple[OperationLoad, ...]:
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

    def _exchange(self, error: Error, answer: Response) -> Exchange:
        head, _, body = answer.sent.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
        headers = self._redactor.pairs(tuple((name, value) for name, _, value in lines))
        url = urlsplit(answer.url)
        path = url.path.removeprefix(self._base_path)
        request = Request(
            method=answer.method,
            path=path,
            query=tuple(parse_qsl(url.query, keep_blank_values=True)),
            headers=headers,
            body=body[:_MOST_BYTES] or None,
            operation_id=unlabelled(error.operation).removesuffix(" async"),
            persona=answer.sender or None,
            cost_credits=self._cost_credits_by_path.get(path, 0.0),
        )
        failure = str(answer.error or "")
        try:
            content = answer.content
        except ValueError as undecodable:  # secrets cannot be found in it
            content, failure = b"", str(undecodable)
        answered = tuple((name, value) for name in answer.headers for value in answer.headers.get_all(name))
        return Exchange(
            id="",
            request=self._redactor.request(request),
            url=self._redactor.text(answer.url),
            sent_headers=headers,
            status=answer.status_code or None,
            headers=self._redactor.pairs(answered),
            body=self._redactor.cut_content(content[:_MOST_BYTES]),
            started_at=datetime.fromtimestamp(answer.start_unix_s, UTC),
            elapsed_ms=answer.elapsed_ms,
            failure=self._redactor.safe(failure) if failure else None,
        )


def _kind(operation: str, error: ErrorCount) -> Error:
    return Error(operation, RequestStatus(error.status), error.status_code or 0, error.code)
