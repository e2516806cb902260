"""Faults: runs of workflows and models."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

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
    "model.unknown-is-404": {
        "model-unknown-is-plain-404": "An unknown model is a plain 404.",
        "model-unknown-is-invalid-slug": "An unknown model is an INVALID_SLUG.",
    },
    "model.disabled-is-404": {
        "model-disabled-runs": "A disabled model runs.",
        "model-disabled-is-403": "A disabled model is a 403.",
    },
    "model.above-tier-is-403": {
        "model-tier-ignored": "A model above the account's tier runs.",
        "model-above-tier-is-404": "A model above the account's tier is a 404.",
    },
    "model.run-under-business-is-403": {
        "model-run-under-business": "A pro account runs models.",
        "model-run-under-business-is-402": "A model run of a pro account is a 402.",
    },
    "model.async-not-supported-is-400": {
        "model-async-for-all": "Every model runs asynchronously.",
        "model-async-for-text": Subtle("Text models run asynchronously."),
    },
}
