"""A mix of tasks in place of the scenario's: ``--mix``, a HAR file, ``--workflow`` and ``--model``."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.traffic.traffic_file import read_traffic
from knouds_harness.exchange.traffic.traffic_redaction import TrafficRedactor
from knouds_harness.load import tasks
from knouds_harness.load.workload.accounts import RUN_MODEL, RUN_WORKFLOW, InputLine
from knouds_harness.load.workload.input_lines import InputFile, may_cost_more
from knouds_harness.load.workload.workload import Task
from knouds_harness.targets.needs.runs import is_run_by_any_key, why_not_runnable
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
_NAME_BY_OPERATION: Final = {
    "getWhoami": "whoami",
    "listWorkflows": "list",
    "getWorkflowSchema": "schema",
    "listUsage": "usage",
    "getPublicPricing": "pricing",
    "getHealth": "health",
    "cancelExecution": "cancel",
    "createWorkflow": "crud",
    RUN_WORKFLOW: "run",
    RUN_MODEL: "model",
}
_MOST_WEIGHT: Final = 1000


def parse_mix(text: str) -> dict[str, int]:
    """Parse the weight of each task: ``run=3,whoami=1``.

    Raises:
        UsageError: A name is not a task, or a weight not a number from 1 to 1,000.
    """
    weights: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        if name not in TASK_BY_NAME:
            raise UsageError(f"--mix {text}: {UnknownName('task', name, TASK_BY_NAME)}")
        if not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= _MOST_WEIGHT):
            raise UsageError(
                f"--mix {text}: {weight or 'nothing'!r} is not how often {name} comes\n"
                f"  Write a whole number from 1 to {_MOST_WEIGHT:,}: {name}=3"
            )
        weights[name] = int(weight)
    return weights


def tasks_of(mix: Mapping[str, int]) -> list[Task]:
    """Repeat each task by its weight, as Locust expects in ``tasks``."""
    scale = min(1.0, _MOST_WEIGHT / sum(mix.values()))
    return [TASK_BY_NAME[name] for name, weight in mix.items() for _ in range(max(1, round(weight * scale)))]


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


def read_traffic_inputs(path: Path, target: Target) -> InputFile:
    """Read a HAR file: how often each task comes, and the inputs of runs. Nothing else of it is sent."""
    recorded = read_traffic(path)
    redactor = TrafficRedactor(recorded)
    mix: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    lines: list[InputLine] = []
    for number, each in enumerate(recorded, start=1):
        found = shipped_document().recognise(each.exchange.request.method, each.exchange.request.path)
        if found is None:
            left_out["requests that are not of the API"] += 1
            continue
        operation, values = found
        name = _NAME_BY_OPERATION.get(operation.id)
        if name is None:
            left_out[f"{operation.id}, which has no task of its own"] += 1
        elif operation.id in (RUN_WORKFLOW, RUN_MODEL):
            is_async = dict(each.exchange.request.query).get("async") == "true"
            run = next(iter(values.values()), "")
            inputs = _inputs(each.exchange, redactor)
            problem = next(_obstacles(operation.id, run, inputs, target, is_async=is_async), "")
            if problem or inputs is None:
                left_out[problem] += 1
                continue
            mix["follow" if is_async else name] += 1
            lines.append(
                InputLine(number=number, operation=operation.id, name=run, inputs=inputs, cost_credits=None)
            )
        else:
            mix[name] += 1
    mix["follow"] -= min(mix["follow"], mix["cancel"])  # a task that cancels submits first
    told = tuple(f"{path.name}: left out {count:,} {what}" for what, count in left_out.items())
    if not mix.total():
        raise UsageError("\n  ".join([f"{path}: none of its requests can be sent", *told]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return InputFile(path=path, lines=tuple(lines), digest=digest, mix=dict(+mix), left_out=told)


def _obstacles(
    operation: str, name: str, inputs: Mapping[str, Any] | None, target: Target, *, is_async: bool
) -> Iterator[str]:
    is_workflow = operation == RUN_WORKFLOW
    resource = (target.workflows if is_workflow else target.models).get(name)
    if "run" not in target.limits.allow:
        yield f'{operation}, as limits.allow has no "run"'
    if resource is None:
        kind = "workflow" if is_workflow else "model"
        yield f"{operation} of {name}, a {kind} that is not in {target.source}"
        return
    if reason := why_not_runnable(resource):
        yield f"{operation} of {name}, of which the profile says {reason}"
    if is_async and not resource.polled:
        yield f"asynchronous {operation} of {name}, which needs polled = true"
    if not is_run_by_any_key(target, resource):
        yield f"{operation} of {name}, which no key may run"
    if inputs is None:
        yield f"{operation} of {name}, whose inputs are unknown or hold a secret"
    elif not target.is_built_in and may_cost_more(inputs, resource):
        yield f"{operation} of {name}, whose inputs may cost more than those of the profile"


def _inputs(exchange: Exchange, redactor: TrafficRedactor) -> Mapping[str, Any] | None:
    try:
        body = json.loads(exchange.request.body or b"")
    except ValueError:
        return None
    inputs = body.get("inputs", {}) if isinstance(body, dict) else None
    if not isinstance(inputs, dict) or any(redactor.text(text) != text for text in _texts(inputs)):
        return None
    return inputs


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
