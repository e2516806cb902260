"""Which tests of the suite run: by family, operation and fact, and with --quick fewer of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any, Final

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action, Operation
from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.judging.checks import families as all_families
from knouds_harness.judging.checks import schemas
from knouds_harness.judging.claim import Check
from knouds_harness.judging.engine import checks_of_every_answer
from knouds_harness.judging.user_checks import USER, UserChecks
from knouds_harness.suite.nights import Nights
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.support.execution_traces import SHARED_EXECUTIONS, Shared, is_any_a_workflow
from knouds_harness.suite.support.test_data import EXECUTION
from knouds_harness.suite.support.webhook_executions import SHARED_DELIVERIES
from knouds_harness.targets.needs import Need, may
from knouds_harness.targets.needs.runs import ASYNC_RUN, once
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

MARKERS: Final = {
    "proves(*checks)": "the checks that the test drives, its own first",
    "needs(*needs)": "what the profile must offer, besides its own check's needs and its parameter `need`",
    "shows(*facts, *needs)": "of its checks' facts, the test shows only these, if the needs are met",
    "succeeds(*operation_ids)": "these operations succeed in the test, so that it shows their shapes",
    "spends(runs)": "what the test runs and pays for: runs(target)",
    "shares(*parts, unless=None)": "of what its fixture runs once for all tests, the test needs these parts, "
    "unless the profile meets a need",
    "thorough": "repeats another test with more cases; --quick leaves it out",
    "waits": "is independent of other tests and waits for its own runs: starts early, beside all others",
    "runs": "may run something, although it needs nothing that it runs",
    "limited": "counts the runs of a rate-limited account: runs last, or first if a window is filled early",
    "fills_window": "has the target throttle an account: runs last, or beside others if that takes long",
    "independent": "neither changes nor sees what other tests do, so that it may run beside others",
    "at_once": "sends requests that are to meet on the target, so no other test sends any",
    "in_a_row(requests)": "sends about so many, each after the other: the longest begins first beside others",
    "sequence": "all requests that the test sent before belong to the evidence of its findings",
    "operations(secured=None, ids=None)": "parametrize `operation` over the document",
    "records(*outcomes, *statuses, **more)": "OPERATION-OUTCOMEs that `record` keeps; more as in `Outcome`",
    "user_test": "set by the plugin on a user's own tests that use its fixtures",
}
"""The markers of conformance tests, as ``pytest --markers`` lists them."""
_STATUS_FACT: Final = "ground.status-is-documented"
_SHARED: Final = {"executions": SHARED_EXECUTIONS, "deliveries": SHARED_DELIVERIES}
"""What tests share, by fixture and part."""
_OF_SUCCESSES: Final = (schemas.body, schemas.headers, schemas.status_is_documented)


def operations_for(*, secured: bool | None = None, ids: Collection[str] | None = None) -> list[Operation]:
    return [
        each
        for each in shipped_document().operations
        if secured in (None, not each.is_public) and (ids is None or each.id in ids)
    ]


def checks_of(item: pytest.Item) -> tuple[Check[...], ...]:
    """Return the checks that a conformance test drives, its own first; none for any other test."""
    marker = item.get_closest_marker("proves")
    return marker.args if marker else ()


def _parameter(item: pytest.Item, name: str) -> Any:  # noqa: ANN401 - whatever the test is parametrized with
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


def operation_of(item: pytest.Item) -> Operation | None:
    operation = _parameter(item, "operation")
    return operation if isinstance(operation, Operation) else None


def operations_of(item: pytest.Item) -> frozenset[str]:
    """Return the ids of the operations that a conformance test is about; none if it is about the whole API.

    These are its parameter, or those in its marker ``succeeds``; otherwise those for which the document
    promises one of the test's facts.
    """
    if operation := operation_of(item):
        return frozenset({operation.id})
    if operation_id := _parameter(item, "operation_id"):
        return frozenset({operation_id})
    if succeeding := [each for marker in item.iter_markers("succeeds") for each in marker.args]:
        return frozenset(succeeding)
    own = own_facts_of(item)
    return frozenset(operation for operation, facts in _promised().items() if not own.isdisjoint(facts))


def facts_of_others(operation_ids: Collection[str]) -> frozenset[str]:
    """Return the facts that the document promises only for other operations; empty if none are given."""
    promised = _promised() if operation_ids else {}
    own = frozenset[str]().union(*(promised[each] for each in operation_ids))
    return frozenset[str]().union(*promised.values()) - own


@cache
def _promised() -> Mapping[str, frozenset[str]]:
    """Return the facts of each operation: its own, and those of its successful responses."""
    return {
        each.id: frozenset([*each.facts, *_facts_of_successes(each)])
        for each in shipped_document().operations
    }


def needs_of(item: pytest.Item) -> tuple[Need[object], ...]:
    """Return what a test needs: its own check, its parameter ``need``, its markers and its operation."""
    operation = operation_of(item)
    parameter = _parameter(item, "need")
    return (
        *(need for check in checks_of(item)[:1] for need in check.needs),
        *((parameter,) if parameter else ()),
        *(need for marker in item.iter_markers("needs") for need in marker.args),
        *((may(operation.action),) if operation else ()),
    )


def facts_of(item: pytest.Item) -> dict[str, tuple[Need[object], ...]]:
    """Return the facts that a conformance test shows, each with what it needs in addition.

    These are all facts of its checks, or of a check only those that markers ``shows`` name. The shapes of
    successful responses count if a marker ``succeeds`` names the operation, except those of accepted
    asynchronous runs, which have a check of their own.
    """
    named: dict[str, tuple[Need[object], ...]] = {}
    for marker in item.iter_markers("shows"):
        needs = tuple(each for each in marker.args if isinstance(each, Need))
        named |= {fact: needs for fact in marker.args if isinstance(fact, str)}
    facts: dict[str, tuple[Need[object], ...]] = {}
    for check in checks_of(item):
        if check not in _OF_SUCCESSES:
            of_check = [fact for fact in check.facts if fact in named]
            facts |= {fact: named.get(fact, ()) for fact in of_check or check.facts}
    for marker in item.iter_markers("succeeds"):
        for operation_id in marker.args:
            of_successes = _facts_of_successes(shipped_document().operation_by_id[operation_id])
            facts |= {fact: () for fact in of_successes if not fact.startswith("async.")}
            facts[_STATUS_FACT] = ()
    return facts | named


def _facts_of_successes(operation: Operation) -> list[str]:
    return [
        fact for response in operation.responses.values() if response.status < 400 for fact in response.facts
    ]


def own_facts_of(item: pytest.Item) -> frozenset[str]:
    """Return the facts of which a test shows at least one; a documented status alone is not enough."""
    facts = frozenset(facts_of(item))
    return facts - {_STATUS_FACT} or facts


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The tests that ``--family``, ``--operation``, ``--fact`` and ``--quick`` ask for.

    Attributes:
        of_tests: The facts and checks of the user's own tests.
        of_file: Those of ``--checks``, which judge what any test sends.
    """

    options: RunOptions
    of_tests: UserChecks = field(default_factory=UserChecks)
    of_file: UserChecks = field(default_factory=UserChecks)

    def __post_init__(self) -> None:
        document = shipped_document()
        own = self.of_tests.joined(self.of_file).facts
        _require_known("family", self.options.families, (*all_families(), USER))
        if USER in self.options.families and not self.of_tests.checks:
            raise UsageError(
                f"--family {USER}: there is no test of your own\n  Run yours with pytest: docs/extending.md."
            )
        _require_known("operation", self.options.operations, document.operation_by_id)
        _require_known("fact", self.options.facts, {**document.facts, **own})

    @property
    def asked(self) -> str:
        """The options that select tests, as typed."""
        asked = self.options
        named = {"family": asked.families, "operation": asked.operations, "fact": asked.facts}
        chosen = [f"--{option} {name}" for option, names in named.items() for name in names]
        return " ".join([*chosen, *(["--quick"] if asked.quick else [])])

    def keeps(self, item: pytest.Item) -> bool:
        """Return whether a test runs; one that is not a conformance test always does."""
        checks, asked = checks_of(item), self.options
        if not checks:
            return True
        family = checks[0].family
        about = asked.operations if family == USER else operations_of(item)
        return (
            not (asked.quick and item.get_closest_marker("thorough"))
            and (not asked.families or family in asked.families)
            and (not asked.operations or not set(asked.operations).isdisjoint(about))
            and (not asked.facts or not self._facts_of(item).isdisjoint(asked.facts))
        )

    def _facts_of(self, item: pytest.Item) -> frozenset[str]:
        """Return the facts that a test is about, by its checks and by what succeeds in it."""
        checks = frozenset(checks_of(item))
        of_shapes = checks.intersection(_OF_SUCCESSES)
        of_checks = (check.facts for check in checks - of_shapes)
        facts = frozenset(facts_of(item)).union(self.of_file.facts, *of_checks)
        promised = [_promised()[each] for each in operations_of(item)]
        return facts.union(*(each.intersection(check.facts) for each in promised for check in of_shapes))


def _require_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What tests run and pay for, on a target that keeps the contract.

    Attributes:
        paid: Ids of the tests that the credits suffice for.
        unpaid: Ids of the tests that they do not suffice for; the cheapest tests are paid first.
        unpaid_parts: Parts of what tests share that they do not suffice for.
        beyond: Facts that cost more than all credits even alone, and how much; without those that any answer
            may show.
    """

    runs: tuple[Workflow | Model, ...] = ()
    cost_credits: float = 0.0
    paid: frozenset[str] = frozenset()
    unpaid: frozenset[str] = frozenset()
    unpaid_parts: frozenset[str] = frozenset()
    beyond: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        items: Sequence[pytest.Item],
        target: Target,
        price: Callable[[Workflow | Model], float | None],
        *,
        limit_credits: float,
        nights: Nights = Nights(),  # noqa: B008 - frozen
    ) -> Spending:
        """Divide the credits among tests that the profile makes possible: what many share comes first.

        By earlier ``nights``, what was not verified for longest comes first. The rest of the credits pays for
        more of what the tests share that are paid.
        """
        if Action.RUN not in target.limits.allow:
            return cls()
        parts = {item.nodeid: made for item in items if (made := _runs_of(item, target))}
        sharers = Counter(name for made in parts.values() for name in made)
        shareable = dict(part for item in items for part in _shared_with(item).items())
        runs_by_name = {name: runs for name, runs_of in shareable.items() if (runs := runs_of(target))}
        runs_by_name |= {name: runs for made in parts.values() for name, runs in made.items()}
        costs = {name: sum(price(run) or 0.0 for run in runs) for name, runs in runs_by_name.items()}
        bought: dict[str, float] = {}

        def turn(item: pytest.Item) -> tuple[date, date, float]:
            test = item.nodeid
            share = sum(costs[name] / sharers[name] for name in parts.get(test, ()))
            return *nights.turn_of(test, facts_of(item)), share

        for item in sorted(items, key=turn):
            all_of = bought | {name: costs[name] for name in parts.get(item.nodeid, ())}
            if sum(all_of.values()) <= limit_credits:
                bought = all_of
        paid = frozenset(test for test, made in parts.items() if made.keys() <= bought.keys())
        of_paid = {name for item in items if item.nodeid in paid for name in _shared_with(item)}
        for name in sorted((of_paid & costs.keys()) - bought.keys(), key=costs.__getitem__):
            if sum(bought.values(), costs[name]) <= limit_credits:
                bought[name] = costs[name]
        least: dict[str, float] = {}
        for item in items:
            cost = sum(costs[name] for name in parts.get(item.nodeid, ()))
            least |= {fact: min(cost, least.get(fact, cost)) for fact in facts_of(item)}
        least = {fact: cost for fact, cost in least.items() if fact not in shown_by_any_answer()}
        return cls(
            runs=tuple(run for name in bought for run in runs_by_name[name]),
            cost_credits=sum(bought.values()),
            paid=paid,
            unpaid=frozenset(parts.keys() - paid),
            unpaid_parts=frozenset(costs.keys() - bought.keys() - parts.keys()),
            beyond={fact: cost for fact, cost in least.items() if cost > limit_credits},
        )


@cache
def shown_by_any_answer() -> frozenset[str]:
    """Return the facts of checks that judge every answer, whichever test sends it."""
    return frozenset(fact for check in checks_of_every_answer() for fact in check.facts)


def is_paid_for(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(marker) for marker in ("spends", "shares"))


def _runs_of(item: pytest.Item, target: Target) -> dict[str, list[Workflow | Model]]:
    """Return what a test runs: by its id what it runs itself, by another name what tests share."""
    operation = operation_of(item)
    runs = {item.nodeid: [run for marker in item.iter_markers("spends") for run in marker.args[0](target)]}
    if operation and operation.path_parameters == ("id",):
        runs[EXECUTION] = once(ASYNC_RUN)(target)
    shared = _shared_with(item)
    same = {"of_workflow": "of_any"} if is_any_a_workflow(target) else {}
    for marker in item.iter_markers("shares"):
        unless = marker.kwargs.get("unless")
        if unless is None or unless.find(target) is None:
            runs |= {name: shared[name](target) for name in (same.get(each, each) for each in marker.args)}
    return {name: each for name, each in runs.items() if each}


def _shared_with(item: pytest.Item) -> Mapping[str, Shared]:
    """Return the parts of what a test shares with others; none if it needs none of them."""
    if item.get_closest_marker("shares") is None:
        return {}
    return next(parts for fixture, parts in _SHARED.items() if fixture in getattr(item, "fixturenames", ()))
