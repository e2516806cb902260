"""Walk what requests to one operation may vary in, and have the rule judge each answer.

Each value of a dimension is sent with all else as usual, and in each pair that shows something: at most one
reason to refuse a request may apply, as a server may tell either of two. So a value goes with an asynchronous
form, and a key that is refused with what does not exist, as the key is looked at first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS, Operation
from knouds_harness.exchange.evidence import Call, Exchange, effectless_call
from knouds_harness.judging.checks import authentication, capabilities
from knouds_harness.judging.rule.reasons import CAPABILITY
from knouds_harness.printable import first_few
from knouds_harness.runs.run_file import Cell
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.untested import Untested
from knouds_harness.suite.walk.dimensions import (
    ASYNC,
    CAPABILITIES,
    KEY,
    Draft,
    Value,
    fixed_values,
    run_call,
)
from knouds_harness.suite.walk.key_values import key_values, lacking_value
from knouds_harness.targets.needs import missing_in
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

_IN_FORM = "form=async"
_UNKNOWN = "resource=unknown"
_MOST_NAMED = 3


def values_of(operation: Operation) -> Iterator[Value]:
    """Yield the values of a request to an operation that are the same for all profiles."""
    yield from fixed_values(operation)
    if operation.alternatives:
        yield lacking_value(operation)


def values_words(target: Target) -> str:
    """Say how many of these values a profile allows, and what it lacks for the most others."""
    values = [value for operation in shipped_document().operations for value in values_of(operation)]
    lacking = Counter(says for value in values for says in missing_in(target, value.needs)[:1])
    words = f"A check can try {len(values) - lacking.total():,} of {len(values):,} values of requests"
    return "; ".join([words, *(f"{says} adds {count:,}" for says, count in lacking.most_common(1))]) + "."


@dataclass(frozen=True)
class Point:
    """A request of the walk, by what is unusual in it: a value, and perhaps its form or what it names."""

    value: Value
    beside: str = ""

    @property
    def traits(self) -> tuple[str, ...]:
        """What is unusual, in words."""
        return (str(self.value), self.beside) if self.beside else (str(self.value),)


class Walk:
    """Sends requests to one operation of the target."""

    def __init__(self, test_data: TestData, operation: Operation, personas: Sequence[Persona] = ()) -> None:
        self.test_data = test_data
        self.tester = test_data.tester
        self.operation = operation
        self.personas = personas
        self.account = test_data.account_if_any(operation)

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """All values of all dimensions; call it when the target may be sent requests."""
        of_keys = () if self.operation.is_public else key_values(self)
        return (*values_of(self.operation), *of_keys)

    def points(self, dimension: str, *, is_quick: bool) -> Iterator[Point]:
        """Yield what is sent for a dimension; if ``is_quick``, pairs of one value for each reason alone.

        ``record`` sends only what it may keep.
        """
        values = [each for each in self.values if each.dimension == dimension]
        if self.tester.recorder.keeps_answers:
            yield from (Point(each) for each in values if each.outcome)
            return
        can_be_async = self._can_be_async(dimension)
        seen: set[object] = set()
        for value in values:
            yield Point(value)
            if not (is_quick and value.check in seen):
                yield from [Point(value, _IN_FORM)] if can_be_async else []
                is_named = value.hides_names and self.operation.path_parameters
                yield from [Point(value, _UNKNOWN)] if is_named else []
            seen |= {value.check} - {None}

    def _can_be_async(self, dimension: str) -> bool:
        """Return whether an asynchronous run may be asked for; without a key, of anything."""
        if self.operation.id not in RUN_OPERATIONS:
            return False
        polled = run_call(self.operation, is_async=True)
        return dimension == KEY or polled.missing(self.tester.target) is None

    def walk(self, dimension: str, *, is_quick: bool) -> None:
        """Send all points of a dimension, and count their pairs.

        Raises:
            Untested: Nothing could be sent.
        """
        sent: dict[Point, Exchange] = {}
        untested: list[Untested] = []
        chosen = list(self.points(dimension, is_quick=is_quick))
        for point in chosen:
            try:
                exchange = self.send(point)
            except Untested as reason:
                untested.append(reason)
            else:
                if exchange is not None:
                    sent[point] = exchange
        left = len(list(self.points(dimension, is_quick=False))) - len(chosen)
        added_by = Counter(each.missing for each in untested if each.cause == "profile")
        possible = len(sent) + len(untested) - added_by.total() + left
        self.tester.recorder.writer.add_pairs(sent=len(sent), possible=possible, added_by=added_by)
        if not sent and untested:
            raise untested[0]
        for point, exchange in sent.items():
            known = sent.get(Point(point.value))
            if point.beside == _UNKNOWN and known is not None:
                self._compare(exchange, known)
        self._explain(sent)

    def send(self, point: Point) -> Exchange | None:
        """Send the request of a point, and have it judged; returns None if there is none."""
        value, draft = point.value, self.draft(point)
        if draft is None:
            return None
        exchange = self.tester.send(self.operation.id, draft.persona, draft.call, key=draft.key)
        if value.check is not None:  # its reason is known to apply, also where the rule could not know
            _require_refusal(exchange, draft.persona)
            self.tester.judge(value.check, exchange)
        if value.dimension == CAPABILITIES and draft.persona is not None:
            self._note_cell(exchange, draft.persona, draft.call)
        if value.outcome and not point.beside:
            self.tester.keep(f"{self.operation.id}-{value.outcome}", exchange)
        return exchange

    def _compare(self, exchange: Exchange, known: Exchange) -> None:
        """Have a refusal of what does not exist compared with that of what exists."""
        if known.code == "CAPABILITY_DENIED":
            self.tester.judge(capabilities.denied_alike, exchange, of_existing=known)
        elif known.status == 401:
            self.tester.judge(authentication.tells_nothing, exchange, of_existing=known)

    def draft(self, point: Point) -> Draft | None:
        """Return the request of a point; None if there is none.

        Raises:
            Untested: The profile lacks what the value needs.
        """
        operation, is_keyless = self.operation, point.value.dimension == KEY
        effectless = effectless_call(operation)
        call = self.test_data.call_without_key(operation) if is_keyless else effectless
        is_async = point.beside == _IN_FORM
        draft = point.value.change(self, Draft(call=call, is_async=is_async))
        if draft is None:
            return None
        if point.beside == _UNKNOWN:
            draft = draft.having(path_values=effectless.path_values)
        return draft.having(query=(*draft.call.query, ASYNC)) if is_async else draft

    def _note_cell(self, exchange: Exchange, persona: Persona, call: Call) -> None:
        """Record what a key was answered, unless the contract leaves open what it may do."""
        may, is_admitted = (
            self.tester.allowed(exchange),
            self.operation.admits(persona.capabilities, call.path_values),
        )
        is_open = any(each.has_any_code and 403 in each.statuses for each in may.possible)
        if may.reasons[CAPABILITY] is not None and not is_open:
            self.tester.recorder.writer.cells.append(
                Cell(
                    operation=self.operation.id,
                    persona=persona.name,
                    expected="admitted" if is_admitted else "denied",
                    observed=exchange.answer,
                    ok=not self.tester.findings_about(exchange),
                    exchange_id=exchange.id,
                )
            )

    def _explain(self, sent: dict[Point, Exchange]) -> None:
        """Say of each finding which requests of the walk show it, by the fewest of their traits."""
        recorder = self.tester.recorder
        for mark in recorder.shown.failing:
            showing = [
                point
                for point, exchange in sent.items()
                if any(each.fingerprint == mark for each in self.tester.findings_about(exchange))
            ]
            if showing and len(sent) > 1:
                recorder.writer.explain(mark, shown_in(showing, list(sent)))


def shown_in(showing: Sequence[Point], sent: Sequence[Point]) -> str:
    """Say which of the points that were sent show a finding."""
    if len(showing) == len(sent):
        return f"this finding shows in each of {len(sent)} requests"
    for trait in dict.fromkeys(trait for point in showing for trait in point.traits):
        if set(showing) == {point for point in sent if trait in point.traits}:
            return f"this finding shows only with {trait}, of {len(sent)} requests"
    named = first_few([" and ".join(point.traits) for point in showing], _MOST_NAMED)
    return f"this finding shows in {len(showing)} of {len(sent)} requests: {named}"


def _require_refusal(exchange: Exchange, persona: Persona | None) -> None:
    """Raise Untested if a run was paid by an account with few credits: it costs less than it may."""
    if exchange.is_success and persona is not None and not isinstance(persona.credits, str):
        raise Untested(
            f"a run that costs more than {persona.credits:g} credits, as {persona.name} has", "profile"
        )
