"""The checks: one module per family, and ids that begin with the family."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from knouds_harness.judging.claim import Check

_FAMILIES: Final = (
    *("authentication", "capabilities", "envelopes", "validation", "schemas", "workflows", "runs"),
    *("executions", "webhooks", "usage", "rate_limits", "concurrency", "isolation", "spellings", "times"),
)


def all_checks() -> dict[str, Check[...]]:
    """Return every check by id, in the order in which families list them."""
    modules = [import_module(f"{__name__}.{family}") for family in _FAMILIES]
    checks = [each for module in modules for each in vars(module).values() if isinstance(each, Check)]
    return {check.id: check for check in checks}


@cache
def family_by_fact() -> Mapping[str, str]:
    """Return the family of the first check of each fact, by fact id."""
    return {fact: each.family for each in reversed(all_checks().values()) for fact in each.facts}


def families() -> tuple[str, ...]:
    """Return the names of the families, in order."""
    return tuple(dict.fromkeys(check.family for check in all_checks().values()))
