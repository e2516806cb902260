"""The checks, one module for each family."""

from __future__ import annotations

from types import ModuleType

from knouds_harness.conformance.checks import (
    authentication,
    capabilities,
    concurrency,
    envelopes,
    executions,
    isolation,
    rate_limits,
    refusals,
    runs,
    schemas,
    usage,
    validation,
    webhooks,
    workflows,
)
from knouds_harness.conformance.claims import Check

_MODULES: tuple[ModuleType, ...] = (
    authentication,
    capabilities,
    envelopes,
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
)


def all_checks() -> dict[str, Check[...]]:
    """Every check by id, in the order in which families and checks are written."""
    return {
        value.id: value for module in _MODULES for value in vars(module).values() if isinstance(value, Check)
    }


def families() -> tuple[str, ...]:
    """The names of the families, in their order."""
    return tuple(dict.fromkeys(check.family for check in all_checks().values()))
