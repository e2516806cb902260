"""The checks, one module or folder for each family, which is what their ids begin with."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from knouds_harness.judging.claim import Check

_FAMILIES: Final = (
    "authentication",
    "capabilities",
    "envelopes.form",
    "envelopes.refusals",
    "validation",
    "schemas",
    "workflows",
    "runs",
    "executions",
    "webhooks",
    "usage",
    "rate_limits",
    "concurrency",
    "isolation",
    "spellings",
    "times",
)


def all_checks() -> dict[str, Check[...]]:
    """Every check by id, in the order in which families and checks are written."""
    modules = [import_module(f"{__name__}.{family}") for family in _FAMILIES]
    checks = [each for module in modules for each in vars(module).values() if isinstance(each, Check)]
    return {check.id: check for check in checks}


@cache
def family_by_fact() -> Mapping[str, str]:
    """The family of each fact that a check is about; of several, the first."""
    return {fact: each.family for each in reversed(all_checks().values()) for fact in each.facts}


def families() -> tuple[str, ...]:
    """The names of the families, in their order."""
    return tuple(dict.fromkeys(check.family for check in all_checks().values()))
