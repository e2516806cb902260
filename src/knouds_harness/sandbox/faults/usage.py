"""Faults: usage rows."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

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
