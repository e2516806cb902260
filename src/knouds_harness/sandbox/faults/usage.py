"""Faults: usage rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from knouds_harness.sandbox.answers import OutgoingAnswer
from knouds_harness.sandbox.fault_points import Edit, Point
from knouds_harness.sandbox.faults.editing import (
    AnswerEdit,
    Edits,
    at,
    changed,
    in_the_name_of_the_last,
    on_success,
    with_value,
    without,
)
from knouds_harness.sandbox.faults.fault_types import Subtle, Table
from knouds_harness.sandbox.handlers.usage import DEFAULT_LIMIT, MAX_LIMIT, NUMBER, RowFilter, number
from knouds_harness.sandbox.providers import MODELS
from knouds_harness.sandbox.state.run_records import StoredRun, find_run

FAULTS: Table = {
    "usage.page-shape": {
        "usage-lacks-total": "Usage has no total.",
        "usage-page-size-as-text": "pageSize is a text.",
    },
    "usage.row-shape": {
        "usage-row-lacks-request-id": "A row has no requestId.",
        "usage-row-id-as-text": "A row's id is a text.",
        "usage-row-models-as-text": "A row's modelIds are one text.",
        "usage-row-created-at-epoch": "A row's createdAt is a number.",
        "usage-row-credits-as-fraction": "A row's creditsCost is no whole number.",
    },
    "usage.row-status-closed": {
        "usage-row-status-is-done": "An ended row is done.",
    },
    "usage.source-closed": {
        "usage-row-source-is-api": "A row's source is api.",
    },
    "usage.slim-has-no-workflow": {
        "usage-slim-names-a-workflow": "A direct model run names a workflow.",
    },
    "usage.run-has-a-row": {
        "usage-cancelled-runs-fail": Subtle("The row of a cancelled run says that it failed."),
        "usage-async-runs-go-on": Subtle("The row of an asynchronous run stays processing."),
        "usage-lacks-failed-runs": Subtle("Failed runs have no row."),
        "usage-row-names-the-cheapest": Subtle(
            "The row of a model run that is waited for names the cheapest model."
        ),
        "usage-lacks-cancelled-runs": Subtle("Cancelled runs have no row."),
        "usage-lacks-every-tenth-run": Subtle("Every tenth run has no row."),
        "usage-lacks-async-workflow-runs": Subtle("Asynchronous runs of workflows have no row."),
    },
    "usage.own-rows-only": {
        "usage-adopts-failed-runs": Subtle("Failed runs of everybody show as one's own."),
        "usage-at-once-mixed-up": Subtle("Of requests at once for usage, some show another account's."),
        "usage-shows-everyones-rows": "Usage shows everyone's rows.",
        "usage-second-page-shows-foreign": Subtle("Pages after the first show everyone's rows."),
        "usage-filtered-shows-foreign": Subtle("Filtered by status, usage shows everyone's rows."),
        "usage-of-a-workflow-is-everyones": Subtle("Asked for by a workflow, usage shows everyone's rows."),
    },
    "usage.no-canvas-rows": {
        "usage-shows-canvas-rows": "Usage shows canvas rows.",
        "usage-filtered-shows-canvas-rows": Subtle("Filtered by status, usage shows canvas rows."),
    },
    "usage.no-provider-ids": {
        "usage-shows-provider-ids": "Usage shows provider-internal model ids.",
        "usage-models-shows-provider-ids": Subtle("Usage models shows provider-internal ids; rows do not."),
    },
    "usage.limit-defaults-to-50": {
        "usage-limit-defaults-to-20": Subtle("limit defaults to 20."),
    },
    "usage.limit-at-most-500": {
        "usage-limit-unbounded": Subtle("limit has no upper bound."),
        "usage-limit-at-most-501": Subtle("limit is capped at 501."),
    },
    "usage.limit-is-kept": {
        "usage-limit-ignored": "limit is ignored.",
        "usage-limit-one-more": Subtle("A page holds one row more than limit."),
    },
    "usage.offset-skips": {
        "usage-offset-ignored": "offset is ignored.",
        "usage-offset-one-short": Subtle("offset skips one row less."),
    },
    "usage.filters": {
        "usage-status-filter-ignored": "status does not filter.",
        "usage-model-filter-ignored": "modelId does not filter.",
        "usage-filtered-passes-canvas-off": Subtle(
            "Filtered by workflow, usage shows canvas runs as if they were of the API."
        ),
        "usage-workflow-filter-ignored": "workflowSlug does not filter.",
        "usage-model-filter-by-prefix": Subtle("modelId takes the beginning of an id for the id."),
        "usage-filters-not-combined": Subtle(
            "Of status and workflowSlug together, only workflowSlug filters."
        ),
    },
    "usage.models-are-distinct": {
        "usage-models-repeat": "Usage models repeats ids.",
        "usage-models-lacks-the-last": Subtle("Usage models leaves out the last model."),
        "usage-models-of-everyone": "Usage models lists everyone's models.",
    },
}

_BOTH = "listUsage listUsageModels"
_SELDOM = 10
_CHEAPEST = "claude-sonnet"


def _on_usage(edit: AnswerEdit) -> Edit:
    return on_success("listUsage", edit)


def _on_rows(make: Callable[[StoredRun], Mapping[str, object]]) -> Edit:
    """Change members of each row: those that are made of its run."""

    def apply(answer: OutgoingAnswer) -> None:
        for row in answer.body["rows"]:
            run = find_run(answer.store, row["id"])
            row.update(make(run) if run else {})

    return _on_usage(apply)


def _selected(apply: Callable[[RowFilter], object], operations: str = "listUsage") -> Edit:
    """Change which rows are read."""

    def select(_: object, selection: RowFilter) -> RowFilter:
        apply(selection)
        return selection

    return at(Point.SELECTION, operations, select)


def _where(condition: str) -> Edit:
    """Read only those rows that meet another condition, too."""
    return _selected(lambda selection: selection.conditions.update(added=condition), _BOTH)


def _ignores(*conditions: str, asked: str = "", operations: str = "listUsage") -> Edit:
    """Drop conditions where the query has these parameters, their names in a row."""

    def apply(selection: RowFilter) -> None:
        if all(selection.query.get(name) for name in asked.split()):
            for name in conditions:
                selection.conditions.pop(name, None)

    return _selected(apply, operations)


def _default_to_20(selection: RowFilter) -> None:
    selection.limit = min(number(selection.query, "limit", default=20), MAX_LIMIT)


def _take_up_to(most: int) -> Callable[[RowFilter], None]:
    def apply(selection: RowFilter) -> None:
        selection.limit = min(number(selection.query, "limit", default=DEFAULT_LIMIT), most)

    return apply


def _ignore_limit(selection: RowFilter) -> None:
    selection.limit = DEFAULT_LIMIT


def _read_one_more(selection: RowFilter) -> None:
    selection.extra_rows = 1 if selection.limit < MAX_LIMIT else 0


def _ignore_offset(selection: RowFilter) -> None:
    selection.offset = 0


def _skip_one_less(selection: RowFilter) -> None:
    selection.offset = max(0, selection.offset - 1)


def _show_foreign_on_later_pages(selection: RowFilter) -> None:
    if selection.offset:
        del selection.conditions["owner"]


def _match_prefix(selection: RowFilter) -> None:
    if "model" in selection.conditions:
        condition = selection.conditions["model"]
        selection.conditions["model"] = condition.replace("value = :model", "value LIKE :model || '%'")


def _show_internal_ids(selection: RowFilter) -> None:
    selection.shows_internal_ids = True


def _adopt_failed(selection: RowFilter) -> None:
    selection.conditions["owner"] = "(account_id = :account OR status = 'failed')"


def _name_the_asker(answer: OutgoingAnswer) -> None:
    if answer.key is not None:
        with_value("rows.*.userId", answer.key.account.id)(answer)


def _stumble_over_garbled(answer: OutgoingAnswer) -> None:
    for name in ("offset", "limit"):
        if (text := answer.query.get(name)) and not NUMBER.fullmatch(text):
            answer.refuse(500, "INTERNAL_ERROR", f"{name} is no number.")


EDITS: Edits = {
    "usage-lacks-total": _on_usage(without("total")),
    "usage-page-size-as-text": _on_usage(changed("pageSize", str)),
    "usage-row-lacks-request-id": _on_usage(without("rows.*.requestId")),
    "usage-row-id-as-text": _on_usage(changed("rows.*.id", str)),
    "usage-row-models-as-text": _on_usage(changed("rows.*.modelIds", ",".join)),
    "usage-row-created-at-epoch": _on_rows(lambda run: {"createdAt": int(run.created_unix_s * 1000)}),
    "usage-row-credits-as-fraction": _on_usage(changed("rows.*.creditsCost", lambda cost: cost + 0.5)),
    "usage-row-status-is-done": _on_rows(lambda run: {"status": "done"} if run.ended_unix_s else {}),
    "usage-row-source-is-api": _on_usage(with_value("rows.*.source", "api")),
    "usage-slim-names-a-workflow": _on_usage(changed("rows.*.workflowSlug", lambda slug: slug or "direct")),
    "usage-cancelled-runs-fail": _on_rows(
        lambda run: {"status": "failed"} if run.status == "cancelled" else {}
    ),
    "usage-async-runs-go-on": _on_rows(lambda run: {"status": "processing"} if run.execution_id else {}),
    "usage-lacks-failed-runs": _where("status <> 'failed'"),
    "usage-row-names-the-cheapest": _on_rows(
        lambda run: {"modelIds": [_CHEAPEST]} if run.source == "api-slim" and not run.execution_id else {}
    ),
    "usage-lacks-cancelled-runs": _where("status <> 'cancelled'"),
    "usage-lacks-every-tenth-run": _where(f"id % {_SELDOM}"),
    "usage-lacks-async-workflow-runs": _where("(execution_id IS NULL OR workflow_slug IS NULL)"),
    "usage-adopts-failed-runs": (_selected(_adopt_failed, _BOTH), _on_usage(_name_the_asker)),
    "usage-at-once-mixed-up": in_the_name_of_the_last("listUsage"),
    "usage-shows-everyones-rows": _ignores("owner", operations=_BOTH),
    "usage-second-page-shows-foreign": _selected(_show_foreign_on_later_pages),
    "usage-filtered-shows-foreign": _ignores("owner", asked="status"),
    "usage-of-a-workflow-is-everyones": _ignores("owner", asked="workflowSlug"),
    "usage-shows-canvas-rows": _ignores("source", operations=_BOTH),
    "usage-filtered-shows-canvas-rows": _ignores("source", asked="status"),
    "usage-shows-provider-ids": _selected(_show_internal_ids, _BOTH),
    "usage-models-shows-provider-ids": _selected(_show_internal_ids, "listUsageModels"),
    "usage-limit-defaults-to-20": _selected(_default_to_20),
    "usage-limit-unbounded": _selected(_take_up_to(10**15)),
    "usage-limit-at-most-501": _selected(_take_up_to(501)),
    "usage-limit-ignored": _selected(_ignore_limit),
    "usage-limit-one-more": _selected(_read_one_more),
    "usage-offset-ignored": _selected(_ignore_offset),
    "usage-offset-one-short": _selected(_skip_one_less),
    "usage-status-filter-ignored": _ignores("status"),
    "usage-model-filter-ignored": _ignores("model"),
    "usage-filtered-passes-canvas-off": (
        _ignores("source", asked="workflowSlug"),
        _on_rows(lambda run: {"source": "api-workflow"} if run.source == "canvas" else {}),
    ),
    "usage-workflow-filter-ignored": _ignores("workflow"),
    "usage-model-filter-by-prefix": _selected(_match_prefix),
    "usage-filters-not-combined": _ignores("status", "model", asked="status workflowSlug"),
    "usage-models-repeat": on_success("listUsageModels", changed("models", lambda ids: sorted(ids + ids))),
    "usage-models-lacks-the-last": on_success("listUsageModels", changed("models", lambda ids: ids[:-1])),
    "usage-models-of-everyone": _ignores("owner", operations="listUsageModels"),
    "usage-garbled-number-is-500": _on_usage(_stumble_over_garbled),
    "usage-every-tenth-run-is-free": _on_rows(lambda run: {} if run.id % _SELDOM else {"creditsCost": 0}),
    "run-failed-charges-double": _on_rows(
        lambda run: (
            {"creditsCost": 2 * sum(MODELS[name].credits_per_unit for name in run.model_ids)}
            if run.status == "failed"
            else {}
        )
    ),
    "run-async-charges-double": _on_rows(
        lambda run: (
            {"creditsCost": 2 * run.charged_credits} if run.execution_id and run.status == "completed" else {}
        )
    ),
}
