"""Faults: what a key may do."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "capability.missing-is-403-denied": {
        "capability-workflow-run-unchecked": "Running a workflow needs no capability.",
        "capability-model-run-unchecked": "Running a model needs no capability.",
        "capability-list-unchecked": "Listing workflows needs no capability.",
        "capability-schema-unchecked": "A workflow's schema needs no capability.",
        "capability-move-unchecked": "Moving a workflow needs no capability.",
        "capability-cancel-unchecked": "Cancelling an execution needs no capability.",
        "capability-denied-is-404": "A key without the capability gets a 404.",
        "capability-denied-is-401": "A key without the capability gets a 401.",
        "capability-denied-has-retired-code": "The denial has the retired code SCOPE_DENIED.",
    },
    "capability.denied-names-required": {
        "capability-denied-names-nothing": "The denial has no `required`.",
        "capability-denied-names-another": "The denial always requires webhook:receive.",
        "capability-denied-names-old-scope": "The denial requires a retired scope.",
    },
    "capability.exact-is-admitted": {
        "capability-cancel-alone-refused": Subtle("execution:cancel by itself admits nothing."),
        "capability-async-needs-receive": Subtle("workflow:run alone admits no asynchronous run."),
        "capability-schema-needs-run": Subtle("workflow:read by itself does not open a schema."),
        "capability-write-alone-cannot-move": Subtle("workflow:write by itself does not admit moving."),
    },
    "capability.orthogonal": {
        "capability-write-implies-read": "workflow:write implies workflow:read.",
        "capability-run-implies-read": "workflow:run implies workflow:read.",
        "capability-run-implies-model-run": "workflow:run implies model:run.",
        "capability-read-implies-execution-read": "workflow:read implies execution:read.",
        "capability-cancel-implies-execution-read": "execution:cancel implies execution:read.",
        "capability-receive-implies-execution-read": Subtle("webhook:receive implies execution:read."),
        "capability-read-and-run-imply-write": Subtle(
            "workflow:read and workflow:run together imply workflow:write."
        ),
        "capability-read-implies-cancel": Subtle("execution:read implies execution:cancel."),
    },
    "capability.resource-wildcard-is-admitted": {
        "capability-wildcard-ignored": "A resource's wildcard admits nothing.",
        "capability-wildcard-lacks-cancel": Subtle("execution:* does not admit cancelling."),
        "capability-wildcard-lacks-writing": Subtle("workflow:* does not admit writing."),
    },
    "capability.wildcard-stays-in-resource": {
        "capability-wildcard-crosses-resources": "A wildcard admits every resource.",
        "capability-model-wildcard-reads-workflows": Subtle("model:* admits workflow:read."),
    },
    "capability.star-is-admitted": {
        "capability-star-lacks-executions": Subtle("* does not admit executions."),
        "capability-star-lacks-writing": Subtle("* does not admit writing."),
    },
    "capability.bound-form-is-admitted": {
        "capability-bound-workflow-ignored": "A key bound to a workflow may not run it.",
        "capability-bound-model-ignored": "A key bound to a model may not run it.",
        "capability-bound-form-not-asynchronously": Subtle("A bound key may not run asynchronously."),
    },
    "capability.bound-form-is-exact": {
        "capability-bound-form-runs-any": "A key bound to one workflow or model runs any.",
        "capability-bound-form-matches-longer": Subtle("A bound key runs names that begin with its own."),
        "capability-bound-form-matches-shorter": Subtle("A bound key runs names that its own begins with."),
        "capability-bound-form-matches-end": Subtle("A bound key runs names that end with its own."),
        "capability-bound-form-runs-any-asynchronously": Subtle("A bound key runs any asynchronously."),
    },
    "capability.bound-form-only-runs": {
        "capability-bound-form-reads": "A key bound to a workflow may read.",
        "capability-bound-form-writes": "A key bound to a workflow may write.",
    },
    "capability.any-valid-key-suffices": {
        "capability-whoami-needs-read": "whoami wants workflow:read.",
        "capability-usage-needs-execution-read": "Usage wants execution:read.",
        "capability-usage-models-needs-model-run": "Usage models wants model:run.",
    },
    "capability.denial-has-no-effect": {
        "capability-denied-create-happens": Subtle("A denied create leaves a workflow behind."),
        "capability-denied-update-happens": Subtle("A denied update changes the workflow."),
        "capability-denied-move-happens": Subtle("A denied move changes the folder."),
        "capability-denied-delete-happens": Subtle("A denied delete deletes."),
    },
}
