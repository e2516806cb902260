"""What a process that sends notes of its requests: a row each, handed over ten times a second.

Nothing is added up here: the process that leads does that (``seconds``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from knouds_harness.load.client.http_answer import Opening, Wire
from knouds_harness.load.client.response import Response, error_code
from knouds_harness.runs.operation_load import TIME, RequestStatus
from knouds_harness.targets.secrets import Secret

MOST_OF_A_KIND: Final = 3
"""The most exchanges that are kept as evidence of each kind of request that is not ok."""
_COPIED_FIRST: Final = 20
_COPIED_EVERY: Final = 32
"""Which answers are copied, if not all are: the first of each kind, then one in so many, and every success
whose body is not the one before."""
_MOST_COPIED_BYTES: Final = 1_000_000
_MOST_KINDS: Final = 100
_MOST_AMOUNT: Final = 1e15
LONG_S: Final = 1.0
"""Requests that are in flight for longer are told before they end."""
_MOST_TOLD: Final = 5_000
_TIME_EVENT: Final = "TIME"
_OK: Final = RequestStatus.OK
_COPIED: Final = (
    "sender",
    "method",
    "url",
    "status_code",
    "raw_head",
    "interim",
    "raw_body",
    "elapsed_ms",
    "start_unix_s",
)
_members_of = attrgetter(*_COPIED)


def restored(copied: Sequence[Any]) -> Response:
    """Return a response from its copy, which has the request and the reason of a failure last."""
    *members, sent, failure = copied
    response = Response()
    vars(response).update(zip(_COPIED, members, strict=True))
    response.sent = sent
    response.error = ConnectionError(failure) if failure else None
    return response


class RequestRow(NamedTuple):
    """One request.

    Attributes:
        response_ms: None if the client did not measure it.
        service_ms: Equal to ``response_ms`` if the request was not due at a scheduled instant.
        ended_s: On the clock of ``time.perf_counter`` in the process that sent it.
        wire: None from another client, or if the request broke.
        failure: Status code, error code and text, if it was not ok.
        answer: As copied for the checks and as evidence, if it is.
    """

    name: str
    method: str
    status: str
    response_ms: float | None
    service_ms: float
    ended_s: float
    wire: Wire | None
    opening: Opening | None
    length: int
    failure: tuple[int, str, str] | None
    answer: Response | None


class Rows(NamedTuple):
    """What a process hands over at a time.

    Attributes:
        requests: As ``RequestRow`` has them.
        measures: Operation, status, measure, milliseconds or what is added to a counter, and when it ended.
        errors: Exceptions in tasks: name, text, and when it came.
    """

    requests: Sequence[Sequence[Any]]
    measures: Sequence[tuple[str, str, str, float, float]]
    errors: Sequence[tuple[str, str, float]]


class Waiting(NamedTuple):
    """How many requests of one name are in flight, and for how long at least."""

    name: str
    waited_s: float
    requests: int


class RequestRecorder:
    """Notes each request of this process, until the rows are taken.

    Attributes:
        in_flight: Name and time of sending of each request that is not answered yet, the first sent first.
        copies_all: Copy every answer that is to be verified, and not a sample.
        always_copied: Operations of which every answer is copied.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.copies_all = False
        self.always_copied: frozenset[str] = frozenset()
        self.in_flight: dict[Response, tuple[str, float]] = {}
        self._clock = clock
        self._requests: list[Any] = []
        self._measures: list[tuple[str, str, str, float, float]] = []
        self._errors: list[tuple[str, str, float]] = []
        self._last_body: dict[str, bytes] = {}
        self._seen: dict[tuple[Any, ...], int] = {}
        self._copied_bytes = 0
        self._hidden: tuple[tuple[bytes, bytes], ...] = ()

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Replace these secrets in copies of requests: copies may go to another machine."""
        self._hidden = tuple((each.reveal().encode(), str(each).encode()) for each in secrets)

    def on_request(
        self,
        *,
        name: str,
        response_time: float | None,
        exception: Exception | None,
        response: Any = None,  # noqa: ANN401 - any client's
        request_type: str = "",
        response_length: int = 0,
        context: object = None,  # noqa: ARG002 - named, so that no dict is made of them
        start_time: object = None,  # noqa: ARG002
        url: object = None,  # noqa: ARG002
        **_: object,
    ) -> None:
        if type(response) is Response and response.response_ms == response_time:
            self.note(response, name, exception)
        elif request_type == _TIME_EVENT and exception is None:
            self.add(name, TIME, response_time or 0.0)
        else:
            self._note_other(name, request_type, response_time, exception, response, response_length)

    def note(self, response: Response, name: str, exception: Exception | None) -> None:
        if exception is not None or not 200 <= response.status_code < 300:
            length = len(response.raw_body)
            self._note_other(name, response.method, response.response_ms, exception, response, length)
            return
        self._requests.append(
            (
                name,
                response.method,
                _OK,
                response.response_ms,
                response.elapsed_ms,
                response.arrived_at,
                response.wire,
                response.opening,
                len(response.raw_body),
                None,
                None if response.sender is None else self._copy_of_success(name, response),
            )
        )

    def _note_other(  # noqa: PLR0917 - as the event has them
        self,
        name: str,
        method: str,
        response_ms: float | None,
        exception: Exception | None,
        response: Any,  # noqa: ANN401
        length: int,
    ) -> None:
        status_code = getattr(response, "status_code", None)
        if status_code is None:
            status_code = 200 if exception is None else 0
        status = RequestStatus.of(status_code, exception)
        ours = response if isinstance(response, Response) else None
        failure = answer = None
        if status is not _OK:
            code = type(exception).__name__
            if status_code:
                code = error_code(response) or str(getattr(exception, "code", ""))
            failure = status_code, code, str(exception or status_code)
            if ours is not None:
                answer = self._copy_of_failure((name, status, status_code, code), ours)
        elif ours is not None and ours.sender is not None:
            answer = self._copy_of_success(name, ours)
        self._requests.append(
            (
                name,
                method,
                status,
                response_ms,
                response_ms if ours is None else ours.elapsed_ms,
                self._clock() if ours is None else ours.arrived_at,
                ours and ours.wire,
                ours and ours.opening,
                length,
                failure,
                answer,
            )
        )

    def _copy_of_success(self, name: str, response: Response) -> tuple[Any, ...] | None:
        body = response.raw_body
        if not self.copies_all and name not in self.always_copied:
            kind = name, response.status_code
            seen = self._seen[kind] = self._seen.get(kind, 0) + 1
            if seen > _COPIED_FIRST and seen % _COPIED_EVERY and body == self._last_body.get(name):
                return None
            if self._copied_bytes > _MOST_COPIED_BYTES:
                return None
            self._last_body[name] = body
        self._copied_bytes += len(body)
        return self._copy(response)

    def _copy_of_failure(self, kind: tuple[Any, ...], response: Response) -> tuple[Any, ...] | None:
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        is_verified = response.sender is not None and (
            self.copies_all
            or kind[0] in self.always_copied
            or seen <= _COPIED_FIRST
            or not seen % _COPIED_EVERY
        )
        is_evidence = seen <= MOST_OF_A_KIND and len(self._seen) <= _MOST_KINDS
        return self._copy(response) if is_verified or is_evidence else None

    def _copy(self, response: Response) -> tuple[Any, ...]:
        sent = response.sent
        for secret, label in self._hidden:
            sent = sent.replace(secret, label)
        return *_members_of(response), sent, str(response.error or "")

    def record(self, operation: str, status: str, measure: str, duration_ms: float) -> None:
        self._measures.append((operation, status, measure, duration_ms, self._clock()))

    def add(self, name: str, measure: str, amount: float) -> None:
        """Note what a task adds to a counter, or a time in milliseconds.

        Raises:
            ValueError: It is negative, or no number that can be added up.
        """
        if not 0 <= amount <= _MOST_AMOUNT:
            raise ValueError(f"{name}: {amount} is not from 0 to {_MOST_AMOUNT:.0e}")
        self.record(str(name), _OK, measure, float(amount))

    def count_error(self, name: str, text: str) -> None:
        self._errors.append((name, text, self._clock()))

    def waiting(self) -> list[Waiting]:
        """Count the requests that have been in flight for long (the oldest 5,000), by tenths of a second."""
        now_s = self._clock()
        counts: Counter[tuple[str, int]] = Counter()
        for name, sent_s in islice(self.in_flight.values(), _MOST_TOLD):
            if now_s - sent_s < LONG_S:
                break
            counts[name, int((now_s - sent_s) * 10)] += 1
        return [Waiting(name, tenths / 10, count) for (name, tenths), count in counts.items()]

    def take(self) -> Rows:
        taken = Rows(self._requests, self._measures, self._errors)
        self._requests, self._measures, self._errors = [], [], []
        self._copied_bytes = 0
        return taken
