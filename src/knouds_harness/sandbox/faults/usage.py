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
        "usage-lacks-failed-runs": "Failed runs have no row.",
        "usage-lacks-every-tenth-run": Subtle("Every tenth run has no row."),
    },
    "usage.own-rows-only": {
        "usage-shows-everyones-rows": "Usage shows everyone's rows.",
        "usage-of-a-workflow-is-everyones": Subtle("Asked for by a workflow, usage shows everyone's rows."),
    },
    "usage.no-canvas-rows": {
        "usage-shows-canvas-rows": "Usage shows canvas rows.",
    },
    "usage.no-provider-ids": {
        "usage-shows-provider-ids": "Usage shows provider-internal model ids.",
    },
    "usage.limit-defaults-to-50": {
        "usage-limit-defaults-to-20": "limit defaults to 20.",
    },
    "usage.limit-at-most-500": {
        "usage-limit-unbounded": "limit has no upper bound.",
    },
    "usage.limit-is-kept": {
        "usage-limit-ignored": "limit is ignored.",
    },
    "usage.offset-skips": {
        "usage-offset-ignored": "offset is ignored.",
    },
    "usage.filters": {
        "usage-status-filter-ignored": "status does not filter.",
        "usage-model-filter-ignored": "modelId does not filter.",
        "usage-workflow-filter-ignored": "workflowSlug does not filter.",
    },
    "usage.models-are-distinct": {
        "usage-models-repeat": "Usage models repeats ids.",
        "usage-models-of-everyone": "Usage models lists everyone's models.",
    },
}
