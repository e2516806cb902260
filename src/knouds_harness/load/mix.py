"""A mix of tasks in place of the scenario's, and what they run: ``--mix``, ``--workflow``, ``--model``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.load import tasks
from knouds_harness.load.workload.workload import Task
from knouds_harness.targets.needs.runs import why_not_runnable
from knouds_harness.targets.profile import Target

TASK_BY_NAME: Final[Mapping[str, Task]] = {
    "whoami": tasks.who_am_i,
    "list": tasks.list_workflows,
    "schema": tasks.read_schema,
    "usage": tasks.list_usage,
    "pricing": tasks.read_pricing,
    "health": tasks.read_health,
    "run": tasks.run_workflow,
    "model": tasks.run_model,
    "follow": tasks.follow_run,
    "cancel": tasks.cancel_run,
    "crud": tasks.workflow_crud,
}
_MOST_WEIGHT: Final = 1000


def tasks_of(mix: str) -> list[Task]:
    """Parse a mix such as ``run=3,whoami=1`` to what Locust expects in ``tasks``."""
    found: list[Task] = []
    for part in mix.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in TASK_BY_NAME:
            raise UsageError(f"--mix {mix}: {UnknownName('task', name, TASK_BY_NAME)}")
        if not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= _MOST_WEIGHT):
            raise UsageError(
                f"--mix {mix}: {weight or 'nothing'!r} is not how often {name} comes\n"
                f"  Write a whole number from 1 to {_MOST_WEIGHT:,}: {name}=3"
            )
        found += [TASK_BY_NAME[name]] * int(weight)
    return found


def running_only(target: Target, workflows: Sequence[str], models: Sequence[str]) -> Target:
    """Return the profile with only these workflows and models, or unchanged if none is named."""
    if not (workflows or models):
        return target
    for kind, names, known in (("workflow", workflows, target.workflows), ("model", models, target.models)):
        for name in names:
            if name not in known:
                raise UsageError(
                    f"--{kind}: {UnknownName(kind, name, known)}\n  Or add it to {target.source}."
                )
            if reason := why_not_runnable(known[name]):
                raise UsageError(
                    f"--{kind} {name}: {target.source} says {reason}, so no run succeeds\n"
                    f"  Name another {kind}."
                )
    return replace(
        target,
        workflows={slug: target.workflows[slug] for slug in workflows},
        models={name: target.models[name] for name in models},
    )
