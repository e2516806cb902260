"""Targets and scenarios for tests of who sends load: keys, workflows and models, and no server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from locust import between

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Action
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.accounts import InputLine
from knouds_harness.load.workload.workload import Workload
from knouds_harness.targets.limits import Limits
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Model, Workflow


def target(
    *keys: Persona,
    workflows: Iterable[Workflow] = (),
    models: Iterable[Model] = (),
    limits: Limits | None = None,
) -> Target:
    """A profile that allows every action, and 1,000 credits."""
    return Target(
        name="staging",
        base_url="https://staging.example.com",
        personas={key.name: key for key in keys},
        workflows={each.slug: each for each in workflows},
        models={each.name: each for each in models},
        limits=limits or Limits(credits=1_000, allow=frozenset(Action)),
    )


def workload_of(
    where: Target, *, unknown: float | None = None, lines: Sequence[InputLine] | None = None
) -> Workload:
    """Who sends there, at the prices of the profile."""
    return Workload(
        where,
        price=lambda each: unknown if each.cost_credits is None else each.cost_credits,
        document=shipped_document(),
        lines=lines,
    )


def scenario(*tasks: Callable[[Any], object], **members: Any) -> type[ScenarioUser]:
    """A Locust user class that is one of ours."""
    return type("Scenario", (ScenarioUser,), {"tasks": list(tasks), "wait_time": between(1, 1), **members})
