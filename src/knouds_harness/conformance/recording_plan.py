"""Which outcomes are to be recorded, what keeps others from it, and what that costs at most."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from knouds_harness.conformance.recipes import Recipe
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.target.profile import Target

Outcome = tuple[str, str]
"""An operation, and the name of one of its outcomes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What recording will do.

    Attributes:
        recipes: To be followed, in this order.
        kept: Recorded already, and not asked for again.
        impossible: What the profile lacks, and the recipes that need it.
        most_credits: What following them may cost.
    """

    recipes: tuple[Recipe, ...]
    kept: tuple[Recipe, ...]
    impossible: dict[str, list[Recipe]]
    most_credits: float


def make_plan(
    recipes: Sequence[Recipe],
    *,
    target: Target,
    pricing: Pricing,
    recorded: Collection[Outcome] = (),
    patterns: Collection[str] = (),
) -> Plan:
    """Choose recipes.

    Args:
        recipes: All there are.
        target: Whose profile has to offer what they need.
        pricing: Knows what runs cost; may ask the target for it.
        recorded: Outcomes to leave as they are; a story of which one is missing is followed as a whole.
        patterns: Of ``operation-outcome``, with ``*`` and ``?``; all where there are none. A story of which
            one is meant is followed as a whole.
    """
    meant = _with_their_stories(recipes, [each for each in recipes if _is_meant(each, patterns)])
    fresh = _with_their_stories(meant, [each for each in meant if each.name not in recorded])
    chosen: list[Recipe] = []
    impossible: dict[str, list[Recipe]] = {}
    for recipe in fresh:
        missing = recipe.missing(target)
        for says in missing:
            impossible.setdefault(says, []).append(recipe)
        if not missing:
            chosen.append(recipe)
    return Plan(
        recipes=tuple(chosen),
        kept=tuple(each for each in meant if each not in fresh),
        impossible=impossible,
        most_credits=_most_credits(chosen, target, pricing),
    )


def _is_meant(recipe: Recipe, patterns: Collection[str]) -> bool:
    name = "-".join(recipe.name)
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _with_their_stories(recipes: Sequence[Recipe], chosen: Sequence[Recipe]) -> list[Recipe]:
    stories = {each.story for each in chosen if each.story}
    return [each for each in recipes if each in chosen or each.story in stories]


def _most_credits(recipes: Sequence[Recipe], target: Target, pricing: Pricing) -> float:
    """What a story runs, it runs once, for all of its outcomes."""
    most: dict[object, float] = {}
    for recipe in recipes:
        cost = sum(pricing.worst_case(resource) or 0.0 for resource in recipe.spends(target))
        story = recipe.story or recipe.name
        most[story] = max(most.get(story, 0.0), cost)
    return sum(most.values())
