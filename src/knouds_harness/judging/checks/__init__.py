"""The checks, one module or folder for each family, which is what their ids begin with."""

from collections.abc import Mapping
from functools import cache
from types import ModuleType

from knouds_harness.judging.checks import (
    authentication,
    capabilities,
    concurrency,
    executions,
    isolation,
    rate_limits,
    runs,
    schemas,
    spellings,
    times,
    usage,
    validation,
    webhooks,
    workflows,
)
from knouds_harness.judging.checks.envelopes import form, refusals
from knouds_harness.judging.claim import Check

_MODULES: tuple[ModuleType, ...] = (
    authentication,
    capabilities,
    form,
    refusals,
    validation,
    schemas,
    workflows,
    runs,
    executions,
    webhooks,
    usage,
    rate_limits,
    concurrency,
    isolation,
    spellings,
    times,
)


def all_checks() -> dict[str, Check[...]]:
    """Every check by id, in the order in which families and checks are written."""
    return {
        value.id: value for module in _MODULES for value in vars(module).values() if isinstance(value, Check)
    }


@cache
def family_by_fact() -> Mapping[str, str]:
    """The family of each fact that a check is about; of several, the first."""
    return {fact: each.family for each in reversed(all_checks().values()) for fact in each.facts}


def families() -> tuple[str, ...]:
    """The names of the families, in their order."""
    return tuple(dict.fromkeys(check.family for check in all_checks().values()))
