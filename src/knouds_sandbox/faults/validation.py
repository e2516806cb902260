"""Faults: how invalid input is handled."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.bodies import Refusal
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    RUNS,
    Handler,
    at,
    on_cancel,
    on_refusal,
    refused,
    selecting,
    taken_for_full,
    with_value,
)
from knouds_sandbox.handlers.account import DEFAULT_LIMIT, RowFilter, number
from knouds_sandbox.state.run_records import StoredRun


def _take_inputs(is_meant: Callable[[dict[str, Any]], bool], *, is_async: bool = False) -> Edit:

    def read(call: HandlerCall, body: Any) -> Any:
        is_taken = isinstance(body, dict) and (call.is_async or not is_async) and is_meant(body)
        return body | {"inputs": {}} if is_taken else body

    return at(Point.BODY, RUNS, read)


@fault("usage.limit-at-most-500", selecting, is_subtle=True)
def usage_limit_unbounded(selection: RowFilter) -> None:
    """Usage's limit has no upper bound."""
    selection.limit = number(selection.query, "limit", default=DEFAULT_LIMIT)


@fault("workflows.create-requires-name", Point.BODY, "createWorkflow")
def create_without_name_accepted(_: HandlerCall, body: Any) -> Any:
    """A workflow without a name is created."""
    return {"name": "Untitled"} | body if isinstance(body, dict) else body


@fault("run.inputs-missing-is-invalid-inputs", _take_inputs(lambda body: "inputs" not in body))
def run_inputs_missing_accepted() -> None:
    """A run without inputs is accepted."""


@fault("run.inputs-not-object-is-invalid-inputs")
def run_inputs_array_accepted() -> Edit:
    """Inputs may be an array."""
    return _take_inputs(lambda body: isinstance(body.get("inputs"), list))


@fault("run.inputs-not-object-is-invalid-inputs", is_subtle=True)
def run_inputs_null_accepted_async() -> Edit:
    """Inputs of an asynchronous run may be null."""
    return _take_inputs(lambda body: body.get("inputs", ...) is None, is_async=True)


@fault("run.body-not-json-is-invalid-body", Point.HANDLER, RUNS)
async def run_malformed_body_accepted(call: HandlerCall, handle: Handler) -> Response:
    """A run body that is not JSON is accepted."""
    try:
        return await handle(call)
    except Refusal as refusal:
        if refusal.code != "INVALID_BODY":
            raise
    note_met()
    read = {"headers": [(b"content-type", b"application/json")], "content": b'{"inputs":{}}'}
    return await handle(replace(call, request=Request(dict(call.request.scope) | read)))


@fault("run.body-not-json-is-invalid-body")
def run_malformed_body_is_invalid_inputs() -> Edit:
    """A run body that is not JSON gets INVALID_INPUTS."""
    return on_refusal(with_value("code", "INVALID_INPUTS"), RUNS, code="INVALID_BODY")


@fault("run.bad-slug-is-invalid-slug", Point.HANDLER, "runWorkflow", is_subtle=True)
async def run_slug_case_ignored(call: HandlerCall, handle: Handler) -> Response:
    """A slug in capitals runs the workflow with the lowercase slug."""
    slug = call.path_value("slug")
    if slug != slug.lower():
        note_met()
        call.request.path_params["slug"] = slug.lower()
    return await handle(call)


@fault("run.bad-slug-is-invalid-slug")
def run_bad_slug_is_404() -> Edit:
    """A slug with invalid characters gets a 404."""
    return on_refusal(refused(404, "NOT_FOUND"), "runWorkflow", code="INVALID_SLUG")


@fault("ground.bodiless-needs-no-content-type", partial(on_cancel, "in flight"))
async def execution_cancel_needs_content_type(call: HandlerCall, _: StoredRun) -> None:
    """Cancelling needs a Content-Type."""
    if "content-type" not in call.request.headers:
        note_met()
        raise Refusal(400, "INVALID_BODY", "Send a Content-Type.")


@fault("auth.missing-key-is-401", is_subtle=True)
def run_async_needs_no_key() -> Edit:
    """An asynchronous run is accepted without a key."""
    return taken_for_full(
        lambda given: not given.presented and given.request.query_params.get("async") == "true", RUNS
    )
