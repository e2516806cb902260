"""The documented outcomes that tests show, which of them to record, and what that costs at most."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from math import inf
from typing import Final

import pytest

from knouds_harness.errors import UnknownName
from knouds_harness.suite.selection import Spending, needs_of
from knouds_harness.targets.needs import MAY_READ, Need, missing_in
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

_FILE_NAME: Final = re.compile(r"([A-Za-z]+)-\d{3}-(.+)")

Price = Callable[[Workflow | Model], float | None]
OutcomeName = tuple[str, str]
"""An operation, and the name of one of its outcomes."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One documented outcome of one operation, and the test that shows it.

    Attributes:
        statuses: The statuses that show it; empty if the checks of the test decide.
        is_named: The test names the response by ``tester.keep``; otherwise the operation's last one counts.
        story: Outcomes of one story act on the same resources, and are recorded together.
        says: What is sent, or promised of it, in one sentence.
    """

    operation: str
    outcome: str
    statuses: tuple[int, ...] = ()
    needs: tuple[Need[object], ...] = ()
    is_named: bool = False
    story: str | None = None
    says: str
    test: pytest.Item = field(repr=False)

    @property
    def name(self) -> OutcomeName:
        """Operation and outcome, unique together."""
        return self.operation, self.outcome

    def __str__(self) -> str:
        return f"{self.operation}-{self.outcome}"


def all_outcomes(items: Iterable[pytest.Item]) -> list[Outcome]:
    """Return the outcomes in the markers of tests; if several tests show one, the first counts."""
    outcomes: dict[OutcomeName, Outcome] = {}
    for item in items:
        words = (getattr(item, "function", item).__doc__ or "").strip().partition("\n")[0]
        markers = reversed(list(item.iter_markers("records")))
        for marker, name in ((each, name) for each in markers for name in each.args if isinstance(name, str)):
            operation, _, outcome_name = name.partition("-")
            given = marker.kwargs
            outcome = Outcome(
                operation=operation,
                outcome=outcome_name,
                statuses=tuple(each for each in marker.args if isinstance(each, int)),
                needs=(MAY_READ, *needs_of(item), *given.get("needs", ())),
                is_named=given.get("is_named", False),
                story=given.get("story"),
                says=given.get("says", words),
                test=item,
            )
            outcomes.setdefault(outcome.name, outcome)
    return list(outcomes.values())


def choose_outcomes(
    outcomes: Sequence[Outcome], *, recorded: Collection[OutcomeName], patterns: Collection[str]
) -> tuple[list[Outcome], list[Outcome]]:
    """Choose outcomes by patterns of their names or file names, regardless of the profile.

    Returns what to record, and what to keep as it is already recorded; stories only as a whole.
    """
    by_name = {pattern: _FILE_NAME.sub(r"\1-\2", pattern) for pattern in patterns}
    asked = {
        pattern: [each for each in outcomes if fnmatchcase(str(each), name)]
        for pattern, name in by_name.items()
    }
    for pattern, fitting in asked.items():
        if not fitting:
            raise UnknownName("outcome", pattern, map(str, outcomes))
    chosen = list(chain.from_iterable(asked.values())) if patterns else outcomes
    meant = _with_their_stories(outcomes, chosen)
    fresh = _with_their_stories(meant, [each for each in meant if each.name not in recorded])
    return fresh, [each for each in meant if each not in fresh]


def _with_their_stories(outcomes: Sequence[Outcome], chosen: Sequence[Outcome]) -> list[Outcome]:
    stories = {each.story for each in chosen if each.story}
    return [each for each in outcomes if each in chosen or each.story in stories]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What recording will do.

    Attributes:
        impossible: What the profile lacks, and the outcomes that need it.
    """

    outcomes: Sequence[Outcome]
    kept: Sequence[Outcome]
    impossible: dict[str, list[Outcome]]
    runs: tuple[Workflow | Model, ...]
    most_credits: float


def make_plan(chosen: Iterable[Outcome], kept: Sequence[Outcome], *, target: Target, price: Price) -> Plan:
    """Plan what a profile makes possible of the chosen outcomes, and what that costs."""
    outcomes: list[Outcome] = []
    impossible: dict[str, list[Outcome]] = {}
    for outcome in chosen:
        missing = missing_in(target, outcome.needs)
        for says in missing:
            impossible.setdefault(says, []).append(outcome)
        if not missing:
            outcomes.append(outcome)
    spending = Spending.of(tests_of(outcomes), target, price, limit_credits=inf)
    return Plan(
        outcomes=outcomes,
        kept=kept,
        impossible=impossible,
        runs=spending.runs,
        most_credits=spending.cost_credits,
    )


def tests_of(outcomes: Iterable[Outcome]) -> list[pytest.Item]:
    return list(dict.fromkeys(each.test for each in outcomes))
