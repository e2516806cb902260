"""Which outcomes are to be recorded, what keeps others from it, and what that costs at most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from knouds_harness.suite.outcomes.outcome import ProvokedOutcome
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow

Price = Callable[[Workflow | Model], float | None]
OutcomeName = tuple[str, str]
"""An operation, and the name of one of its outcomes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What recording will do.

    Attributes:
        outcomes: To be provoked, in this order.
        kept: Recorded already, and not asked for again.
        impossible: What the profile lacks, and the outcomes that need it.
        most_credits: What provoking them may cost.
    """

    outcomes: tuple[ProvokedOutcome, ...]
    kept: tuple[ProvokedOutcome, ...]
    impossible: dict[str, list[ProvokedOutcome]]
    most_credits: float


def make_plan(
    outcomes: Sequence[ProvokedOutcome],
    *,
    target: Target,
    price: Price,
    recorded: Collection[OutcomeName] = (),
    patterns: Collection[str] = (),
) -> Plan:
    """Choose outcomes.

    Args:
        outcomes: All there are.
        target: Whose profile has to offer what they need.
        price: The most that a run of something costs; may ask the target for it.
        recorded: Outcomes to leave as they are; a story of which one is missing is provoked as a whole.
        patterns: Of ``operation-outcome``, with ``*`` and ``?``; all where there are none. A story of which
            one is meant is provoked as a whole.
    """
    meant = _with_their_stories(outcomes, [each for each in outcomes if _is_meant(each, patterns)])
    fresh = _with_their_stories(meant, [each for each in meant if each.name not in recorded])
    chosen: list[ProvokedOutcome] = []
    impossible: dict[str, list[ProvokedOutcome]] = {}
    for outcome in fresh:
        missing = outcome.missing(target)
        for says in missing:
            impossible.setdefault(says, []).append(outcome)
        if not missing:
            chosen.append(outcome)
    return Plan(
        outcomes=tuple(chosen),
        kept=tuple(each for each in meant if each not in fresh),
        impossible=impossible,
        most_credits=_most_credits(chosen, target, price),
    )


def _is_meant(outcome: ProvokedOutcome, patterns: Collection[str]) -> bool:
    name = "-".join(outcome.name)
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _with_their_stories(
    outcomes: Sequence[ProvokedOutcome], chosen: Sequence[ProvokedOutcome]
) -> list[ProvokedOutcome]:
    stories = {each.story for each in chosen if each.story}
    return [each for each in outcomes if each in chosen or each.story in stories]


def _most_credits(outcomes: Sequence[ProvokedOutcome], target: Target, price: Price) -> float:
    """What a story runs, it runs once, for all of its outcomes."""
    most: dict[object, float] = {}
    for outcome in outcomes:
        cost = sum(price(resource) or 0.0 for resource in outcome.spends(target))
        story = outcome.story or outcome.name
        most[story] = max(most.get(story, 0.0), cost)
    return sum(most.values())
