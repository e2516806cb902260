"""How each documented outcome is provoked, one module for each part of the API."""

from __future__ import annotations

from knouds_harness.contract.document import Document
from knouds_harness.suite.outcomes import (
    accounts,
    capabilities,
    deliveries,
    executions,
    keys,
    runs,
    windows,
    workflows,
)
from knouds_harness.suite.outcomes.outcome import ProvokedOutcome


def all_outcomes(document: Document) -> list[ProvokedOutcome]:
    """Every outcome, in the order in which they are to be provoked: what is throttled comes last."""
    return [
        *accounts.OUTCOMES,
        *keys.outcomes(document),
        *capabilities.OUTCOMES,
        *workflows.OUTCOMES,
        *runs.OUTCOMES,
        *executions.OUTCOMES,
        *deliveries.OUTCOMES,
        *windows.OUTCOMES,
    ]
