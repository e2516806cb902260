"""Walk what requests to one operation may vary in, and have the rule judge each answer.

Each value of a dimension is sent with all else as usual, and in each pair that shows something: at most one
reason to refuse a request may apply, as a server may tell either of two. So a value goes with an asynchronous
form, and a key that is refused with what does not exist, as the key is looked at first.

What a key may do is a dimension, too: its values are the keys of a profile, and those that can be minted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS, Action, Operation
from knouds_harness.exchange.created_workflows import fresh_name
from knouds_harness.exchange.evidence import Call, Exchange, effectless_call
from knouds_harness.judging.checks import authentication, capabilities
from knouds_harness.judging.rule.reasons import CAPABILITY
from knouds_harness.printable import first_few
from knouds_harness.runs.run_file import Cell
from knouds_harness.suite.generation.dimensions import (
    ASYNC,
    CAPABILITIES,
    KEY,
    Draft,
    Value,
    fixed_values,
    run_call,
)
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import CONTROL, missing_in
from knouds_harness.targets.needs.rate_limits import free_workflow
from knouds_harness.targets.needs.runs import own_workflows, usable_models
from knouds_harness.targets.needs.workflows import BOUND_WORKFLOW_KEY_AND_AUTHOR, lesser_key
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Persona

_IN_FORM = "form=async"
_UNKNOWN = "resource=unknown"
_MOST_NAMED = 3


def values_of(operation: Operation) -> Iterator[Value]:
    """Yield the values of a request to an operation that are the same for all profiles."""
    yield from fixed_values(operation)
    if operation.alternatives:
        need = lesser_key(operation)
        yield Value(
            dimension=CAPABILITIES,
            name="lacking",
            check=capabilities.denied,
            needs=(need,),
            outcome="lacks-capability",
            statuses=(403,),
            hides_names=True,
            change=lambda walk, draft: _draft_by(walk, walk.tester.need(need), draft=draft),
        )


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
        return (str(self.value), self.beside) if self.beside else (str(self.value),)


class Walk:
    def __init__(self, test_data: TestData, operation: Operation, personas: Sequence[Persona] = ()) -> None:
        self.test_data = test_data
        self.tester = test_data.tester
        self.operation = operation
        self.personas = personas
        self.account = test_data.account_if_any(operation)

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """All values of all dimensions; call it when the target may be sent requests."""
        of_keys = () if self.operation.is_public else _key_values(self)
        return (*values_of(self.operation), *of_keys)

    def points(self, dimension: str, *, is_quick: bool) -> Iterator[Point]:
        """Yield what is sent for a dimension; if ``is_quick``, pairs of one value for each reason alone.

        ``record`` sends only what it may keep.
        """
        values = [each for each in self.values if each.dimension == dimension]
        if self.tester.recorder.keeps_answers:
            yield from (Point(each) for each in values if each.outcome)
            return
        can_be_async = self.operation.id in RUN_OPERATIONS and (
            dimension == KEY or run_call(self.operation, is_async=True).missing(self.tester.target) is None
        )
        seen: set[object] = set()
        for value in values:
            yield Point(value)
            if not (is_quick and value.check in seen):
                yield from [Point(value, _IN_FORM)] if can_be_async else []
                is_named = value.hides_names and self.operation.path_parameters
                yield from [Point(value, _UNKNOWN)] if is_named else []
            seen |= {value.check} - {None}

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
                if (exchange := self.send(point)) is not None:
                    sent[point] = exchange
            except Untested as reason:
                untested.append(reason)
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
        may = self.tester.allowed(exchange)
        is_open = any(each.has_any_code and 403 in each.statuses for each in may.possible)
        if may.reasons[CAPABILITY] is None or is_open:
            return
        is_admitted = self.operation.admits(persona.capabilities, call.path_values)
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


# --- what a key may do

Held = Callable[[Call], set[str]]
"""Returns the capabilities of a key that is minted for a call."""
_OUTCOMES: Final = {
    ("getWorkflow", "workflow:*"): "wildcard",
    ("getWorkflow", "execution:*"): "wildcard-of-executions",
    ("getWorkflow", "bound"): "bound",
    ("listWorkflows", "workflow:write"): "may-only-write",
    ("listWorkflows", "*"): "admin",
    ("runWorkflow", "bound"): "bound-to-another",
}
"""What ``record`` keeps of keys that hold one capability: the outcome by operation and form."""


def recorded_outcomes(operation: Operation) -> list[str]:
    return [outcome for (operation_id, _), outcome in _OUTCOMES.items() if operation_id == operation.id]


def _key_values(walk: Walk) -> Iterator[Value]:
    """Yield each active key of the profile, each with what it may run, and keys that are minted."""
    target = walk.tester.target
    for persona in walk.personas:
        for name in _names(walk, persona):
            yield key_value(persona.name, persona, name, outcome=_outcome(walk, persona, name))
    for says, held in _to_mint(walk) if CONTROL.find(target) is not None else ():
        yield key_value(says, held)
    if walk.operation.id == "runWorkflow" and BOUND_WORKFLOW_KEY_AND_AUTHOR.missing(target) is None:
        yield from _neighbours(walk)


def key_value(says: str, key: Persona | Held, name: str | None = None, *, outcome: str = "") -> Value:
    """Return the value of a key, or of one to mint; ``name`` is what it asks for, if not what all ask for."""

    def change(walk: Walk, draft: Draft) -> Draft | None:
        persona = key
        if not isinstance(persona, Persona):
            held = persona(walk.test_data.call_on_existing(walk.operation))
            persona = walk.tester.minted(held, account=walk.test_data.account_of(walk.operation))
        return _draft_by(walk, persona, name, draft=draft)

    return Value(
        dimension=CAPABILITIES, name=f"{says} on {name}" if name else says, outcome=outcome, change=change
    )


def _outcome(walk: Walk, persona: Persona, name: str | None) -> str:
    """Return the recorded outcome that the answer to a key is; empty if it is none."""
    forms = ["bound" if form.count(":") == 2 else form for form in persona.capabilities]
    outcome = _OUTCOMES.get((walk.operation.id, forms[0]), "") if len(forms) == 1 else ""
    is_bound_to_it = f"workflow:{name}:run" in persona.capabilities
    return "" if outcome == "bound-to-another" and is_bound_to_it else outcome


def _names(walk: Walk, persona: Persona) -> list[str] | list[None]:
    """Return what a bound key is tried on: all that its account may run; to be read, what it is bound to."""
    if not any(form.count(":") == 2 for form in persona.capabilities):
        return [None]
    if walk.operation.id == "runModel":
        return [model.name for model in usable_models(walk.tester.target)]
    own = [workflow.slug for workflow in own_workflows(walk.tester.target, persona.user)]
    if walk.operation.id == "runWorkflow":
        return own
    bound = [slug for slug in own if f"workflow:{slug}:run" in persona.capabilities]
    return bound if bound and walk.operation.id in ("getWorkflow", "getWorkflowSchema") else [None]


def _neighbours(walk: Walk) -> Iterator[Value]:
    """Yield a bound key on workflows whose names begin or end like that of its own, or have it inside."""
    bound, workflow, author = walk.tester.need(BOUND_WORKFLOW_KEY_AND_AUTHOR)
    words = workflow.slug.replace("-", " ")

    def on(name: str, walk: Walk, draft: Draft) -> Draft | None:
        return _draft_by(walk, bound, walk.test_data.make_workflow(author, name=name.strip()), draft=draft)

    for name in (f"{words} {fresh_name('')}", fresh_name(words), fresh_name(f"{words} more")):
        yield Value(dimension=CAPABILITIES, name=f"{bound.name} on a neighbour", change=partial(on, name))


def _to_mint(walk: Walk) -> Iterator[tuple[str, Held]]:
    operation, operations = walk.operation, walk.tester.document.operations
    every = {form for each in operations for form in each.alternatives if "{" not in form}
    if not operation.alternatives:
        yield "every capability", lambda _: every
        return
    for alternative in operation.alternatives:
        yield f"only {alternative}", partial(_filled, alternative)
    yield "all but these", lambda call: every - {*operation.required_capabilities(call.path_values)}
    if operation.id in RUN_OPERATIONS:
        of_run = operation.alternatives[-1]
        for says, near in _NEAR.items():
            yield says, partial(_filled, of_run, near=near)
    elif operation.path_parameters == ("slug",):
        yield "bound to it", partial(_filled, "workflow:{slug}:run")


_NEAR: Final[Mapping[str, Callable[[str], str]]] = {
    "bound to a longer name": "{}-2".format,
    "bound to a name with more in front": "a-{}".format,
    "bound to a name with another end": lambda name: f"{name[:-1]}x",
    "bound to a name without its end": lambda name: name[:-1],
    "bound to a name without its start": lambda name: name[1:],
}


def _filled(form: str, call: Call, near: Callable[[str], str] = str) -> set[str]:
    return {form.format(**{parameter: near(name) for parameter, name in call.path_values.items()})}


def _draft_by(walk: Walk, persona: Persona, name: str | None = None, *, draft: Draft) -> Draft | None:
    """Return a request by a key, valid but for what the key may do.

    The resource exists, so that only the capability can be the reason for a refusal. If the key is admitted,
    it writes only to scratch workflows, and a run that would cost credits has inputs that are not an object.
    """
    operation, account, polled = walk.operation, walk.account, ""
    if draft.is_async:
        key, resource = walk.tester.need(run_call(operation, is_async=True))
        account, polled = key.user, resource.name
        name = name or polled
        if persona.user != account:
            return None
    call = effectless_call(operation) if account is None else walk.test_data.call_on_existing(operation)
    if name is not None:
        call = call.having(path_values=dict.fromkeys(operation.path_parameters, name))
    is_admitted = operation.admits(persona.capabilities, call.path_values)
    if draft.is_async and not is_admitted and name != polled:
        return None  # it may be refused for that
    if is_admitted:
        call = _harmless(walk, persona, call, is_own=persona.user == account)
    return replace(draft, persona=persona, call=call)


def _harmless(walk: Walk, persona: Persona, call: Call, *, is_own: bool) -> Call:
    """Return a call that costs its owner nothing, and that a server which reads the body first accepts."""
    operation = walk.operation
    if operation.action is Action.RUN:
        free = (
            free_workflow(walk.tester.target, persona) if is_own and operation.id == "runWorkflow" else None
        )
        if free and operation.admits(persona.capabilities, free.path_values):
            return call.having(path_values=free.path_values, json={"inputs": dict(free.inputs)})
        return call.having(json={"inputs": []})
    if not is_own:
        return call if operation.action is Action.READ else effectless_call(operation)
    if operation.id == "updateWorkflow":
        return call.having(json={"description": "sent by the harness"})
    if operation.id == "deleteWorkflow":
        return call.having(path_values={"slug": walk.test_data.make_workflow()})
    return call
