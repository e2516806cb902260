"""The recipes, one module for each part of the API."""

from __future__ import annotations

from knouds_harness.conformance.cookbook import (
    accounts,
    capabilities,
    deliveries,
    executions,
    keys,
    runs,
    windows,
    workflows,
)
from knouds_harness.conformance.recipes import Recipe
from knouds_harness.contract.document import Document


def all_recipes(document: Document) -> list[Recipe]:
    """Every recipe, in the order in which they are to be followed: what is throttled comes last."""
    return [
        *accounts.RECIPES,
        *keys.recipes(document),
        *capabilities.RECIPES,
        *workflows.RECIPES,
        *runs.RECIPES,
        *executions.RECIPES,
        *deliveries.RECIPES,
        *windows.RECIPES,
    ]
