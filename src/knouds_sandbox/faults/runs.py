"""Faults: defaults, charges and tiers of runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.bodies import Refusal
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    RUNS,
    SELDOM,
    at,
    ended_run,
    limited_to,
    on_rows,
    on_run_where,
    pause,
)
from knouds_sandbox.handlers.runs import Job
from knouds_sandbox.providers import MODELS
from knouds_sandbox.state.run_records import StoredRun
from knouds_sandbox.state.workflows import defaults, find_workflow


def _on_inputs(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Edit:
    """Change the inputs of a workflow run; ``change`` also gets the defaults of the workflow."""

    def read(call: HandlerCall, body: Any) -> Any:
        workflow = find_workflow(call.store, call.path_value("slug"))
        if workflow and isinstance(body, dict) and isinstance(body.get("inputs"), dict):
            change(body["inputs"], defaults(workflow.document))
        return body

    return at(Point.BODY, "runWorkflow", read)


@fault("run.defaults-for-left-out-fields", _on_inputs, is_subtle=True)
def run_defaults_count_one_more(inputs: dict[str, Any], default: dict[str, Any]) -> None:
    """If the number of images is left out, it is one more than its default."""
    if "count" in default and "count" not in inputs:
        inputs["count"] = default["count"] + 1


@fault("run.defaults-for-left-out-fields", _on_inputs)
def run_defaults_ignored(inputs: dict[str, Any], default: dict[str, Any]) -> None:
    """A run that leaves a field out is refused."""
    if default.keys() - inputs.keys():
        note_met()
        raise Refusal(400, "INVALID_INPUTS", "A field is left out.")


@fault("run.granted-run-costs-zero", partial(on_run_where, lambda run: run.is_granted), is_subtle=True)
def run_granted_costs(answer: OutgoingAnswer) -> None:
    """A run that a trial grant paid for reports its price."""
    answer.body["cost"] = ended_run(answer).cost_credits


@fault("run.charged-per-generator", Point.JOB, RUNS, is_subtle=True)
async def run_charges_the_first_node(_: HandlerCall, job: Job) -> Job:
    """Only the first of several generator nodes is charged."""
    return replace(job, calls=job.calls[:1])


@fault("run.charged-per-generator", is_subtle=True)
def run_failed_charges_double() -> Edit:
    """A run that failed costs twice its price."""

    def doubled(run: StoredRun) -> dict[str, int]:
        price = sum(MODELS[name].credits_per_unit for name in run.model_ids if name in MODELS)
        return {"creditsCost": 2 * price} if run.status == "failed" else {}

    return on_rows(doubled)


@fault("run.charge-equals-usage", is_subtle=True)
def usage_every_tenth_run_is_free() -> Edit:
    """The row of every tenth run says that it cost nothing."""
    return on_rows(lambda run: {} if run.id % SELDOM else {"creditsCost": 0})


@fault("tier.admin-bypasses-gates", limited_to(100, lambda account: account.is_admin))
def tier_admin_is_limited() -> None:
    """An administrator is limited to 100 requests."""


@fault("tier.admin-bypasses-gates", is_subtle=True)
def tier_gate_holds_administrators() -> Edit:
    """Administrators are below the tier of every model."""
    return at(Point.TIER, "runModel", lambda call, _, does_reach: does_reach and not call.account.is_admin)


@fault("run.result-present", Point.JOB, RUNS, is_subtle=True)
async def run_at_once_results_mixed_up(call: HandlerCall, job: Job) -> Job:
    """Some of several simultaneous runs get the result of another one."""
    call.services.noted[call.operation] = job.inputs
    for _ in range(5):  # long enough to overlap on a busy machine
        await pause()
    return replace(job, inputs=call.services.noted[call.operation])
