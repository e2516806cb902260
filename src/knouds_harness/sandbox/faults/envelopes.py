"""Faults: what holds for every answer, and the public answers: ground rules, envelopes, pricing, health."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "ground.no-undocumented-server-error": {
        "envelope-provider-failure-is-502": "EXECUTION_FAILED comes with 502.",
        "run-inputs-number-is-500": Subtle("Inputs that are a number are a 500."),
        "run-malformed-body-is-500": "A run body that is no JSON is a 500.",
        "usage-garbled-number-is-500": "A garbled limit or offset is a 500.",
    },
    "ground.bodiless-needs-no-content-type": {
        "execution-cancel-needs-content-type": "Cancelling wants a Content-Type.",
    },
    "ground.json-content-type": {
        "envelope-plain-401-as-text": "The plain 401 declares text/plain.",
        "envelope-404-as-html": "A 404 declares text/html.",
        "envelope-denial-as-problem-json": "A denial declares application/problem+json.",
        "usage-as-text": "Usage declares text/plain.",
    },
    "ground.status-is-documented": {
        "whoami-is-203": "whoami answers 203.",
        "run-is-202": Subtle("A run that is waited for answers 202."),
    },
    "ground.responses-are-json-objects": {
        "health-is-json-string": "Health is a JSON string.",
    },
    "envelope.error-has-text": {
        "envelope-404-without-text": "A 404 has no `error`.",
        "envelope-denial-with-empty-text": "The text of a denial is empty.",
        "envelope-invalid-inputs-text-is-object": "The `error` of INVALID_INPUTS is an object.",
    },
    "envelope.error-has-code": {
        "envelope-unknown-execution-without-code": "The 404 of an execution has no `code`.",
        "envelope-unknown-execution-code-is-number": "The `code` of an execution's 404 is a number.",
        "envelope-unknown-execution-code-is-empty": "The `code` of an execution's 404 is empty.",
    },
    "envelope.plain-401-has-code": {
        "envelope-plain-401-without-code": "The plain 401 has no `code`.",
    },
    "envelope.unknown-workflow-404-has-code": {
        "envelope-unknown-workflow-without-code": "The 404 of a workflow has no `code`.",
    },
    "envelope.code-is-constant": {
        "envelope-code-names-the-slug": "The `code` of a workflow's 404 holds the slug.",
    },
    "envelope.error-is-object": {
        "envelope-unknown-execution-is-array": "The 404 of an execution is an array.",
        "envelope-unknown-execution-is-string": "The 404 of an execution is a string.",
    },
    "envelope.code-fits-status": {
        "envelope-invalid-inputs-is-422": "INVALID_INPUTS comes with 422.",
        "envelope-model-not-found-is-400": "MODEL_NOT_FOUND comes with 400.",
        "envelope-insufficient-credits-is-403": "INSUFFICIENT_CREDITS comes with 403.",
        "envelope-async-not-supported-is-409": "ASYNC_NOT_SUPPORTED comes with 409.",
    },
    "pricing.is-public-json": {
        "pricing-is-404": "Public pricing is a 404.",
        "pricing-is-html": "Public pricing is a page.",
    },
    "health.is-public-json": {
        "health-is-text": "Health is a plain text.",
    },
}
