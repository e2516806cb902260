"""Faults: runs, of workflows and of models alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from knouds_harness.sandbox.answers import OutgoingAnswer
from knouds_harness.sandbox.calls import HandlerCall
from knouds_harness.sandbox.envelopes import Refusal, answer
from knouds_harness.sandbox.fault_points import Edit, Point
from knouds_harness.sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    Handler,
    at,
    changed,
    on_refusal,
    on_success,
    pause,
    refused,
    where,
    with_value,
    without,
)
from knouds_harness.sandbox.faults.fault_types import Subtle, Table
from knouds_harness.sandbox.faults.models import INVALID_SLUG, MODEL_NOT_FOUND
from knouds_harness.sandbox.handlers.runs import Job, make_job
from knouds_harness.sandbox.state.run_records import StoredRun, refuse_payment, select_runs
from knouds_harness.sandbox.state.workflow_documents import defaults
from knouds_harness.sandbox.state.workflow_records import StoredWorkflow, find_workflow

FAULTS: Table = {
    "run.inputs-missing-is-invalid-inputs": {
        "run-inputs-missing-accepted": "A run without inputs is accepted.",
        "run-inputs-missing-is-invalid-body": "A run without inputs is an INVALID_BODY.",
        "run-inputs-missing-accepted-async": Subtle("An asynchronous run without inputs is accepted."),
    },
    "run.inputs-not-object-is-invalid-inputs": {
        "run-inputs-array-accepted": "Inputs may be an array.",
        "run-inputs-null-accepted": Subtle("Inputs may be null."),
        "run-inputs-text-accepted": "Inputs may be a text.",
        "run-inputs-empty-array-accepted": Subtle("Inputs may be an empty array."),
        "run-inputs-false-accepted": Subtle("Inputs may be false."),
        "run-inputs-null-accepted-async": Subtle("Inputs of an asynchronous run may be null."),
    },
    "run.body-not-json-is-invalid-body": {
        "run-malformed-body-accepted": "A run body that is no JSON is accepted.",
        "run-malformed-body-is-invalid-inputs": "A run body that is no JSON is an INVALID_INPUTS.",
    },
    "run.bad-slug-is-invalid-slug": {
        "run-slug-case-ignored": Subtle("A slug with capitals runs its lowercase form."),
        "run-bad-slug-is-404": "A slug with other characters is a 404.",
        "run-bad-slug-is-invalid-inputs": "A slug with other characters is an INVALID_INPUTS.",
        "run-bad-model-name-is-404": "A model name with other characters is a 404.",
    },
    "run.defaults-for-left-out-fields": {
        "run-defaults-count-one-more": Subtle("A left-out number of images is one more than its default."),
        "run-defaults-ignored": "A left-out field is refused.",
        "run-empty-inputs-refused": Subtle("Inputs without any member are refused."),
    },
    "run.unknown-workflow-is-404": {
        "run-unknown-workflow-is-invalid-slug": "Running an unknown workflow is an INVALID_SLUG.",
        "run-unknown-workflow-is-410": "Running an unknown workflow is a 410.",
    },
    "run.foreign-workflow-is-404": {
        "run-foreign-workflow-accepted": "Someone else's private workflow runs.",
        "run-foreign-workflow-is-403": "Running someone else's private workflow is a 403.",
        "run-foreign-workflow-accepted-async": Subtle("Someone else's private workflow runs asynchronously."),
    },
    "run.too-few-credits-is-402": {
        "run-without-credits-accepted": "A run without enough credits goes through.",
        "run-without-credits-is-400": "A run without enough credits is a 400.",
        "run-credits-checked-too-early": Subtle("Runs at once are each paid from the same credits."),
        "run-async-without-credits-accepted": Subtle(
            "An asynchronous run without enough credits goes through."
        ),
    },
    "run.exhausted-grant-is-402": {
        "run-exhausted-grant-accepted": "A run on a used-up trial grant goes through.",
        "run-exhausted-grant-in-capitals": Subtle("The code of a used-up trial grant is GRANT_EXHAUSTED."),
        "run-exhausted-grant-is-insufficient-credits": "A used-up trial grant is an INSUFFICIENT_CREDITS.",
    },
    "run.granted-run-costs-zero": {
        "run-granted-costs": Subtle("A run that a trial grant paid reports its price."),
    },
    "run.provider-failure-is-500": {
        "run-provider-failure-is-200": "A provider's failure is a 200.",
    },
    "run.success-is-true": {
        "run-success-as-text": "success is a text.",
        "run-success-is-false": "success is false.",
    },
    "run.success-shape": {
        "run-lacks-cost": "A run reports no cost.",
    },
    "run.result-present": {
        "run-lacks-result": "A run has no result.",
        "run-images-as-text": "images is a text.",
        "run-text-result-is-null": Subtle("The result of a run that makes text is null."),
    },
    "run.cost-is-credits": {
        "run-cost-as-text": "cost is a text.",
        "run-cost-negative": "cost is negative.",
        "run-granted-cost-is-null": Subtle("The cost of a run that a trial grant paid is null."),
    },
    "run.charged-per-generator": {
        "run-charges-the-first-node": Subtle("Of several generator nodes only the first is charged."),
        "run-charged-once": Subtle("A run costs one unit, however many it makes."),
        "run-async-charges-double": Subtle("An asynchronous run that completes costs twice as much."),
        "run-failed-charges-double": Subtle("A run that failed costs twice its price."),
        "run-charges-one-less": Subtle("Of several images or seconds one is not charged."),
    },
    "run.charge-equals-usage": {
        "run-cost-differs-from-usage": Subtle("A run's cost is not what its usage row says."),
        "usage-every-tenth-run-is-free": Subtle("The row of every tenth run says that it cost nothing."),
        "run-cost-rounded": Subtle("A run's cost is rounded down to tens; its usage row is not."),
    },
    "run.ms-is-number": {
        "run-ms-as-text": "ms is a text.",
        "run-lacks-ms": "A workflow run reports no ms.",
    },
}

_RUNS = "runWorkflow runModel"
_PLAIN_404 = refused(404, "NOT_FOUND", "There is no such workflow.")


def _on_run(edit: AnswerEdit, operations: str = _RUNS) -> Edit:
    """Edit the successes of runs that are waited for."""
    return on_success(operations, where(lambda answer: answer.status == 200, edit))


def _where_run(is_meant: Callable[[StoredRun], object], edit: AnswerEdit) -> Edit:
    return _on_run(where(lambda answer: is_meant(_run(answer)), edit))


def _run(answer: OutgoingAnswer) -> StoredRun:
    """The run that has just ended."""
    latest = "account_id = :account ORDER BY ended_unix_s DESC, id DESC LIMIT 1"
    (run,) = select_runs(answer.store, latest, {"account": answer.key and answer.key.account.id})
    return run


def _give_price(answer: OutgoingAnswer) -> None:
    answer.body["cost"] = _run(answer).cost_credits


def _take_inputs(is_meant: Callable[[dict[str, Any]], bool], *, is_async: bool = False) -> Edit:
    """Take what is sent for empty inputs."""

    def read(call: HandlerCall, body: Any) -> Any:
        is_taken = isinstance(body, dict) and (call.is_async or not is_async) and is_meant(body)
        return body | {"inputs": {}} if is_taken else body

    return at(Point.BODY, _RUNS, read)


def _refuse_body(is_meant: Callable[[dict[str, Any]], bool], code: str, error: str) -> Edit:
    def read(_: HandlerCall, body: Any) -> Any:
        if isinstance(body, dict) and is_meant(body):
            raise Refusal(400, code, error)
        return body

    return at(Point.BODY, _RUNS, read)


def _is_null(body: dict[str, Any]) -> bool:
    return "inputs" in body and body["inputs"] is None


def _is_missing(body: dict[str, Any]) -> bool:
    return "inputs" not in body


async def _read_anything(call: HandlerCall, handle: Handler) -> Response:
    """Take a body that is no JSON for one with empty inputs."""
    try:
        return await handle(call)
    except Refusal as refusal:
        if refusal.code != "INVALID_BODY":
            raise

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"inputs":{}}', "more_body": False}

    scope = dict(call.request.scope) | {"headers": [(b"content-type", b"application/json")]}
    return await handle(replace(call, request=Request(scope, receive)))


async def _ignore_case(call: HandlerCall, handle: Handler) -> Response:
    call.request.path_params["slug"] = call.path_value("slug").lower()
    return await handle(call)


def _on_inputs(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Edit:
    """Change the inputs of a workflow, given its defaults."""

    def read(call: HandlerCall, body: Any) -> Any:
        workflow = find_workflow(call.store, call.path_value("slug"))
        if workflow and isinstance(body, dict) and isinstance(body.get("inputs"), dict):
            change(body["inputs"], defaults(workflow.document))
        return body

    return at(Point.BODY, "runWorkflow", read)


def _count_one_more(inputs: dict[str, Any], default: dict[str, Any]) -> None:
    if "count" in default and "count" not in inputs:
        inputs["count"] = default["count"] + 1


def _want_every_field(inputs: dict[str, Any], default: dict[str, Any]) -> None:
    if default.keys() - inputs.keys():
        raise Refusal(400, "INVALID_INPUTS", "A field is left out.")


def _on_404_of(is_meant: Callable[[StoredWorkflow | None], bool], edit: AnswerEdit) -> Edit:
    """Edit the 404 of a workflow that is unknown (None), or somebody else's."""
    edit = where(lambda answer: is_meant(find_workflow(answer.store, answer.path_params["slug"])), edit)
    return on_refusal(edit, "runWorkflow", status=404)


def _is_unknown(workflow: StoredWorkflow | None) -> bool:
    return workflow is None


def _job(change: Callable[[Job], Job]) -> Edit:
    async def edit(_: HandlerCall, job: Job) -> Job:
        return change(job)

    return at(Point.JOB, _RUNS, edit)


def _priced(units_charged: Callable[[int], int]) -> Edit:
    """Charge another number of units of each model."""
    return _job(
        lambda job: replace(
            job, cost_credits=sum(model.credits_per_unit * units_charged(units) for model, units in job.calls)
        )
    )


async def _look_at_funds(call: HandlerCall, job: Job) -> Job:
    """Refuse a job that is not paid for, and take nothing until others have looked too."""
    balance, grant = call.store.row(
        "SELECT credits, grant_credits FROM accounts WHERE id = ?", call.account.id
    )
    if max(balance, grant or 0) < job.cost_credits:
        refuse_payment(job.cost_credits, has_grant=grant is not None)
    await pause()
    return job


def _unpaid(is_meant: Callable[[HandlerCall, bool], bool]) -> Edit:
    """Run without enough credits; the second argument says whether there is a trial grant."""
    return at(Point.FUNDS, _RUNS, lambda call, _, has_grant: is_meant(call, has_grant))


def _refuse_grant(_: HandlerCall, cost_credits: int, has_grant: bool) -> bool:  # noqa: FBT001 - as every edit
    if has_grant:
        refuse_payment(cost_credits, has_grant=False)
    return False


async def _fail_with_200(call: HandlerCall, handle: Handler) -> Response:
    try:
        return await handle(call)
    except Refusal as refusal:
        if refusal.code != "EXECUTION_FAILED":
            raise
        body = {"success": False, "code": refusal.code, "message": refusal.error}
        return answer(body, headers=call.limit_headers)


EDITS: Edits = {
    "run-inputs-missing-accepted": _take_inputs(_is_missing),
    "run-inputs-missing-is-invalid-body": _refuse_body(_is_missing, "INVALID_BODY", "inputs is missing."),
    "run-inputs-missing-accepted-async": _take_inputs(_is_missing, is_async=True),
    "run-inputs-array-accepted": _take_inputs(lambda body: isinstance(body.get("inputs"), list)),
    "run-inputs-null-accepted": _take_inputs(_is_null),
    "run-inputs-text-accepted": _take_inputs(lambda body: isinstance(body.get("inputs"), str)),
    "run-inputs-empty-array-accepted": _take_inputs(lambda body: body.get("inputs") == []),
    "run-inputs-false-accepted": _take_inputs(lambda body: body.get("inputs") is False),
    "run-inputs-null-accepted-async": _take_inputs(_is_null, is_async=True),
    "run-malformed-body-accepted": at(Point.HANDLER, _RUNS, _read_anything),
    "run-malformed-body-is-invalid-inputs": on_refusal(
        with_value("code", "INVALID_INPUTS"), _RUNS, code="INVALID_BODY"
    ),
    "run-slug-case-ignored": at(Point.HANDLER, "runWorkflow", _ignore_case),
    "run-bad-slug-is-404": on_refusal(_PLAIN_404, "runWorkflow", code="INVALID_SLUG"),
    "run-bad-slug-is-invalid-inputs": on_refusal(
        refused(400, "INVALID_INPUTS", "No such slug."), "runWorkflow", code="INVALID_SLUG"
    ),
    "run-bad-model-name-is-404": on_refusal(MODEL_NOT_FOUND, "runModel", code="INVALID_SLUG"),
    "run-defaults-count-one-more": _on_inputs(_count_one_more),
    "run-defaults-ignored": _on_inputs(_want_every_field),
    "run-empty-inputs-refused": _refuse_body(
        lambda body: body.get("inputs") == {}, "INVALID_INPUTS", "inputs is empty."
    ),
    "run-unknown-workflow-is-invalid-slug": _on_404_of(_is_unknown, INVALID_SLUG),
    "run-unknown-workflow-is-410": _on_404_of(
        _is_unknown, refused(410, "GONE", "There is no such workflow.")
    ),
    "run-foreign-workflow-accepted": at(Point.OWNERSHIP, "runWorkflow", lambda *_: True),
    "run-foreign-workflow-is-403": _on_404_of(
        bool, refused(403, "FORBIDDEN", "The workflow is someone else's.")
    ),
    "run-foreign-workflow-accepted-async": at(Point.OWNERSHIP, "runWorkflow", lambda call, _: call.is_async),
    "run-without-credits-accepted": _unpaid(lambda _, has_grant: not has_grant),
    "run-without-credits-is-400": on_refusal(
        refused(400, "INVALID_INPUTS"), _RUNS, code="INSUFFICIENT_CREDITS"
    ),
    "run-credits-checked-too-early": (
        at(Point.JOB, _RUNS, _look_at_funds),
        at(Point.FUNDS, _RUNS, lambda *_: True),
    ),
    "run-async-without-credits-accepted": _unpaid(lambda call, has_grant: call.is_async and not has_grant),
    "run-exhausted-grant-accepted": _unpaid(lambda _, has_grant: has_grant),
    "run-exhausted-grant-in-capitals": on_refusal(
        with_value("code", "GRANT_EXHAUSTED"), _RUNS, code="grant_exhausted"
    ),
    "run-exhausted-grant-is-insufficient-credits": at(Point.FUNDS, _RUNS, _refuse_grant),
    "run-granted-costs": _where_run(lambda run: run.is_granted, _give_price),
    "run-provider-failure-is-200": at(Point.HANDLER, _RUNS, _fail_with_200),
    "run-success-as-text": _on_run(with_value("success", "true")),
    "run-success-is-false": _on_run(with_value("success", value=False)),
    "run-lacks-cost": _on_run(without("cost")),
    "run-lacks-result": _on_run(without("result")),
    "run-images-as-text": _on_run(changed("result.images", lambda images: images[0])),
    "run-text-result-is-null": _where_run(
        lambda run: "text" in run.outcome["result"] and run.model_ids, with_value("result", None)
    ),
    "run-cost-as-text": _on_run(changed("cost", str)),
    "run-cost-negative": _on_run(changed("cost", lambda cost: -1 - cost)),
    "run-granted-cost-is-null": _where_run(lambda run: run.is_granted, with_value("cost", None)),
    "run-charges-the-first-node": _job(
        lambda job: make_job(job.calls[:1], job.inputs, workflow_slug=job.workflow_slug)
    ),
    "run-charged-once": _priced(lambda _: 1),
    "run-charges-one-less": _priced(lambda units: units - (units > 1)),
    "run-cost-differs-from-usage": _on_run(changed("cost", lambda cost: cost * 2 + 1)),
    "run-cost-rounded": _on_run(changed("cost", lambda cost: cost // 10 * 10)),
    "run-ms-as-text": _on_run(changed("ms", lambda ms: f"{ms} ms"), "runWorkflow"),
    "run-lacks-ms": _on_run(without("ms"), "runWorkflow"),
}
