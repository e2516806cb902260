"""Faults: rows of usage, filters and pages."""

import uuid
from dataclasses import replace

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, fault, note_met
from knouds_sandbox.faults.editing import (
    RUNS,
    USAGE_OPERATIONS,
    Handler,
    answers_for_last_request,
    ignoring,
    on_refusal,
    on_usage,
    pause,
    selecting,
)
from knouds_sandbox.handlers.account import MAX_LIMIT, RowFilter, number
from knouds_sandbox.state.run_records import StoredRun, accept_run, end_run, last_run_id, select_runs


@fault("usage.own-rows-only", answers_for_last_request("listUsage"), is_subtle=True)
def usage_at_once_mixed_up() -> None:
    """If requests are simultaneous, usage may be another account's."""


@fault("usage.own-rows-only", ignoring("owner", operations=USAGE_OPERATIONS))
def usage_shows_everyones_rows() -> None:
    """Usage shows everyone's rows."""


@fault("usage.own-rows-only", selecting, is_subtle=True)
def usage_second_page_shows_foreign(selection: RowFilter) -> None:
    """Pages after the first show everyone's rows."""
    if selection.offset:
        del selection.conditions["owner"]


@fault("usage.no-canvas-rows", ignoring("source", asked="status"), is_subtle=True)
def usage_filtered_shows_canvas_rows() -> None:
    """Usage filtered by status shows canvas rows."""


@fault("usage.limit-defaults-to-50", selecting, is_subtle=True)
def usage_limit_defaults_to_20(selection: RowFilter) -> None:
    """Usage's limit defaults to 20."""
    selection.limit = min(number(selection.query, "limit", default=20), MAX_LIMIT)


@fault("usage.limit-is-kept", selecting, is_subtle=True)
def usage_limit_one_more(selection: RowFilter) -> None:
    """A page has one row more than limit."""
    selection.limit = min(selection.limit + 1, MAX_LIMIT)


@fault("usage.offset-skips", selecting, is_subtle=True)
def usage_offset_lost_with_a_filter(selection: RowFilter) -> None:
    """Usage with a filter ignores offset."""
    if selection.query.keys() & {"status", "modelId", "workflowSlug"}:
        selection.offset = 0


@fault("usage.offset-skips", is_subtle=True)
def usage_page_beside_runs_repeats_a_row() -> Edit:
    """Once a page of the maximum size was read and a run came after it, smaller pages repeat a row."""

    def apply(answer: OutgoingAnswer) -> None:
        rows, noted, newest = answer.body["rows"], answer.services.noted, last_run_id(answer.store)
        if answer.body["pageSize"] == MAX_LIMIT:
            noted.setdefault("newest", newest)
        elif len(rows) > 1 and newest > noted.get("newest", newest):
            rows[1] = rows[0]

    return on_usage(apply)


@fault("usage.filters", ignoring("status", "model", asked="status workflowSlug"), is_subtle=True)
def usage_filters_not_combined() -> None:
    """If status and workflowSlug are both given, only workflowSlug filters."""


_LOOKS = 5  # a client on a busy machine takes a moment to close its connection


def _charge_all_the_same(answer: OutgoingAnswer) -> None:
    if answer.key is not None:
        run = StoredRun(
            request_id=f"req_{uuid.uuid4().hex}",
            account_id=answer.key.account.id,
            key_id=answer.key.id,
            source="api-workflow" if "slug" in answer.path_params else "api-slim",
            workflow_slug=answer.path_params.get("slug"),
            model_ids=(),
            cost_credits=1,
            outcome={"result": {}},
        )
        end_run(answer.store, accept_run(answer.store, run), "completed")
        note_met()


@fault("usage.run-has-a-row", Point.HANDLER, "runModel", is_subtle=True)
async def usage_repeats_what_is_given_up(call: HandlerCall, handle: Handler) -> Response:
    """A model run is repeated if its client closes the connection before the response."""
    response = await handle(call)
    is_given_up = False
    for _ in range(0 if call.is_async else _LOOKS):
        await pause()
        is_given_up = is_given_up or await call.request.is_disconnected()
    if is_given_up:
        note_met()
        mine = "account_id = :account ORDER BY id DESC LIMIT 1"
        (run,) = select_runs(call.store, mine, {"account": call.account.id})
        repeated = replace(run, request_id=f"req_{uuid.uuid4().hex}", execution_id=None)
        end_run(call.store, accept_run(call.store, repeated), "completed")
    return response


@fault("run.inputs-not-object-is-invalid-inputs", is_subtle=True)
def usage_charges_refused_inputs() -> Edit:
    """A run with refused inputs has a row and is charged."""
    return on_refusal(_charge_all_the_same, RUNS, code="INVALID_INPUTS")
