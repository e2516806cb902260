"""What was sent before a response: the requests that may have led to it, and the runs of each account."""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from knouds_harness.contract.document import escape
from knouds_harness.contract.operations import RUN_OPERATIONS, Action
from knouds_harness.exchange.evidence import JSON, Exchange, body_of, status_in

_SAYS_OF_ITSELF: Final = frozenset(
    {
        *("operation", "held", "path_values", "granted", "catalogue", "secret", "tier", "limit"),
        *("deadline_s", "advanced_s", "slugs", "offset", "filters"),
    }
)
"""Arguments of checks that are about the request, its key or the profile, not about other responses."""
_RUNS_BEFORE: Final = 4  # few suffice, as each leaves less than all before it
_LATEST: Final = 128  # twice as many as are in flight at a time
_CLOCK_S: Final = 0.001  # assumed precision of the times of exchanges
_GIVEN: Final = ("slug", "executionId")
_GIVEN_BY_CONTROL: Final = ("name", "account")
_TEXT: Final = re.compile(rb'"([^"\\]+)"')


def is_comparing(family: str, given: Mapping[str, object]) -> bool:
    """Return whether a check with these arguments compares responses; usage does, with earlier runs."""
    return family == "usage" or not given.keys() <= _SAYS_OF_ITSELF


def exchanges_in(given: Mapping[str, object]) -> list[Exchange]:
    return [
        each
        for value in given.values()
        for each in (value if isinstance(value, list | tuple) else (value,))
        if isinstance(each, Exchange)
    ]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The responses that the arguments of a check were taken from.

    Attributes:
        parts: Each with the place in it: a JSON pointer, or as of the finding.
        is_complete: Whether all arguments were found, and no header is judged: it tells of the account, which
            any request may change.
    """

    parts: Sequence[tuple[Exchange, str]]
    is_complete: bool


class _Running(threading.local):
    """What the calling thread's test has sent, in order."""

    def __init__(self) -> None:
        self.sent: list[Exchange] = []
        self.is_sequence = False


class PrecedingRequests:
    """Keeps what was sent: by each test, and about each resource, key and account."""

    def __init__(self) -> None:
        self._running = _Running()
        self._by_name: dict[str, list[Exchange]] = {}
        self._latest: Exchange | None = None

    def begin_test(self) -> None:
        self._running.sent, self._running.is_sequence = [], False

    def begin_sequence(self) -> None:
        """From now on, each request may depend on all before it."""
        self._running.sent, self._running.is_sequence = [], True

    def note(self, exchange: Exchange) -> None:
        self._running.sent.append(exchange)
        self._latest = self._latest if exchange.is_control else exchange
        for name in _given_by(exchange):
            self._by_name.setdefault(name, []).append(exchange)
        for name in exchange.request.path_values.values():
            about = self._by_name.get(name)
            if about is not None and _may_change(exchange):
                about.append(exchange)

    @property
    def executions(self) -> list[list[Exchange]]:
        """What was sent about each execution, its submit first."""
        return [about for about in self._by_name.values() if about[0].request.operation_id in RUN_OPERATIONS]

    @property
    def last_of_test(self) -> Exchange | None:
        """The last exchange of the running test; if it has sent nothing, the last one before it."""
        own = (each for each in reversed(self._running.sent) if not each.is_control)
        return next(own, self._latest)

    def sources(self, exchange: Exchange, given: Mapping[str, object], *, where: str = "") -> Sources:
        """Return the responses that the arguments of a check were taken from, as far as they are found.

        Rows and other objects are looked for in what the test has sent, nearest first, and statuses, in their
        order, in what was sent about the execution, or after its cancel. ``where`` is the finding's place.
        """
        sent = [each for each in reversed(self._running.sent) if each.id != exchange.id]
        sent.sort(key=lambda each: abs(each.started_at - exchange.started_at))
        about: Sequence[Exchange] = self._by_name.get(exchange.request.path_values.get("id", ""), ())
        if exchange.request.operation_id == "cancelExecution":
            about = [each for each in about if _place(each) > _place(exchange)]
        found: list[tuple[Exchange, str] | None] = []
        for name, value in given.items():
            items = value if isinstance(value, list) else [value]
            if name in _SAYS_OF_ITSELF or value is None or value is False:
                continue
            if others := exchanges_in({name: value}):
                found += [(each, where) for each in others]
            elif items and all(isinstance(each, str) for each in items):
                left = iter(about)
                for status, _ in groupby(items):
                    found.append(
                        next(((each, "/status") for each in left if status_in(each) == status), None)
                    )
            elif whole := _found(value, sent):
                found.append(whole)
            else:
                found += [_found(each, sent) for each in items] or [None]
        parts = {(each.id, place): (each, place) for each, place in filter(None, found)}
        return Sources(
            parts=[part for part in parts.values() if part[0].id != exchange.id],
            is_complete=None not in found and not where.startswith("header "),
        )

    def of(self, exchange: Exchange, *, sources: Sources | None = None) -> tuple[Exchange, ...]:
        """Return the exchanges that reproduce this one: all that led to it, and itself.

        These are the ones that created or changed the resources, keys and accounts that it names. In a
        sequence, they include all that the test had sent before. For a cancel, later polls are included too,
        as they show its effect. If the response was compared, they include ``sources``, and what the test has
        sent: if all sources were found, only what may have changed something, of executions only their own.
        """
        sent = self._running.sent
        seeds = [exchange, *(each for each, _ in sources.parts)] if sources else [exchange]
        if sources and sources.is_complete:
            until = max(each.ended_at for each in seeds)
            own = {*map(_execution_of, self._leading_to(seeds, exchange)), None}
            acts = [
                each
                for each in sent
                if each.request.action is not Action.READ
                and each.started_at <= until
                and ("id" not in exchange.request.path_values or _execution_of(each) in own)
            ]
            kept = {each.id for each in seeds}
            led = self._leading_to([*seeds, *acts], exchange)
            return tuple(each for each in led if each.id in kept or each.request.action is not Action.READ)
        if sources:
            seeds += sent
        elif self._running.is_sequence and any(each.id == exchange.id for each in sent):
            seeds = [each for each in sent if each.started_at <= exchange.ended_at]
        led = self._leading_to(seeds, exchange)
        return _essential(led, shown_by=exchange, is_compared=sources is not None)

    def _leading_to(self, seeds: Iterable[Exchange], exchange: Exchange) -> tuple[Exchange, ...]:
        """Return these with all that made or changed what they name; after a cancel, its effect too."""
        left = list(seeds)
        last = max(map(_place, left))
        is_cancel = exchange.request.operation_id == "cancelExecution"
        found: dict[str, Exchange] = {}
        while left:
            each = left.pop()
            if each.id not in found:
                found[each.id] = each
                left += [
                    other
                    for name in _named_by(each)
                    for other in self._by_name.get(name, ())
                    if is_cancel or _place(other) <= last
                ]
        return tuple(sorted(found.values(), key=_place))


def _execution_of(exchange: Exchange) -> object:
    """Return the id of the execution that a request names or starts; None if it does not."""
    return exchange.request.path_values.get("id") or body_of(exchange).get("executionId")


def _found(value: object, sent: Iterable[Exchange]) -> tuple[Exchange, str] | None:
    """Return the first exchange whose response holds this object or list, and where."""
    if value and isinstance(value, Mapping | list):
        for each in sent:
            if (place := _place_in(each.json_or_none(), value)) is not None:
                return each, place
    return None


def _place_in(body: JSON, value: object) -> str | None:
    """Return the JSON pointer to an object or list in a body."""
    if body == value:
        return ""
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, each in items:
        if (place := _place_in(each, value)) is not None:
            return f"/{escape(str(name))}{place}"
    return None


def _place(exchange: Exchange) -> tuple[int, str]:
    return len(exchange.id), exchange.id


def _given_by(exchange: Exchange) -> Iterator[str]:
    body = body_of(exchange)
    if exchange.request.action is not Action.READ:
        for member in _GIVEN_BY_CONTROL if exchange.is_control else _GIVEN:
            if (
                isinstance(name := body.get(member), str)
                and name not in exchange.request.path_values.values()
            ):
                yield name


def _may_change(exchange: Exchange) -> bool:
    """Whether the request may have changed what it names, or is about an execution, which changes itself."""
    if "id" in exchange.request.path_values:
        return True
    return exchange.request.action is Action.WRITE and exchange.is_success


def _named_by(exchange: Exchange) -> Iterable[str]:
    request = exchange.request
    yield from request.path_values.values()
    yield from request.path.split("/")  # a pollUrl leads to an execution, too
    yield from (value for _, value in request.query)
    if request.persona is not None:
        yield request.persona
    for found in _TEXT.findall(request.body or b""):
        yield found.decode("utf-8", "replace")


def _essential(
    exchanges: Sequence[Exchange], *, shown_by: Exchange, is_compared: bool
) -> tuple[Exchange, ...]:
    """Return the exchanges that may have led to a response.

    Leaves out reads by other operations than that of ``shown_by`` and of the last exchange, unless responses
    are compared. Of equal responses to the same read, with only reads in between, keeps the first and last.
    """
    told = {each.request.operation_id for each in (shown_by, exchanges[-1])}
    acting = [
        each
        for each in exchanges
        if is_compared or each.request.action is not Action.READ or each.request.operation_id in told
    ]
    alike: list[list[Exchange]] = []
    latest: dict[object, list[Exchange]] = {}
    for each in acting:
        question = each.url, each.asked_headers
        if each.request.action is not Action.READ:
            latest.clear()
            alike.append([each])
        elif (same := latest.get(question)) and (same[0].status, same[0].body) == (each.status, each.body):
            same.append(each)
        else:
            latest[question] = [each]
            alike.append(latest[question])
    kept = {each.id for run in alike for each in (run[0], run[-1])} | {shown_by.id}
    return tuple(each for each in acting if each.id in kept)


class RunsSoFar:
    """The runs of each account and operation, including refused ones, in the order of their responses."""

    def __init__(self, *, user_of: Callable[[str], str]) -> None:
        self._user_of = user_of
        self._runs: dict[tuple[str, str | None], list[Exchange]] = defaultdict(list)

    def note(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.action is Action.RUN and request.operation_id is not None:
            user = self._user_of(request.persona) if request.persona else ""
            self._runs[user, request.operation_id].append(exchange)

    def before(self, exchange: Exchange) -> Sequence[Exchange] | None:
        """Return the account's last few runs of this operation and form before it, and an earlier one."""
        request = exchange.request
        if request.action is not Action.RUN or request.operation_id is None or request.persona is None:
            return None
        runs = self._runs[self._user_of(request.persona), request.operation_id]
        began_s = exchange.started_at.timestamp() - _CLOCK_S
        before = [
            each
            for each in runs[-_LATEST:]
            if each.request.query == request.query and each.ended_at.timestamp() < began_s
        ]
        return [*before[:-_RUNS_BEFORE][:1], *before[-_RUNS_BEFORE:]]  # the first shows a slowly moving end

    def of(self, user: str, operation_id: str) -> Sequence[Exchange]:
        return tuple(self._runs[user, operation_id])

    def most_rows(self, user: str) -> int:
        """Return how many rows of usage an account's runs may have made: those that were not refused."""
        own = [each for operation in RUN_OPERATIONS for each in self.of(user, operation)]
        return sum(each.status is None or not 400 <= each.status < 500 for each in own)

    def has_success(self, user: str) -> bool:
        return any(each.is_success for (of, _), runs in self._runs.items() if of == user for each in runs)
