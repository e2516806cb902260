"""Faults: what a key may do."""

from __future__ import annotations

from collections.abc import Callable

from knouds_sandbox.access.capabilities import Asked, meets
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import Edits, at, on_refusal, refused, with_status, with_value, without
from knouds_sandbox.faults.fault_types import Subtle, Table
from knouds_sandbox.handlers import workflows
from knouds_sandbox.state.workflow_records import change_workflow, delete_workflow

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

_DENIED = "CAPABILITY_DENIED"


def _unchecked(operation: str) -> Edit:
    return at(Point.CAPABILITY, operation, lambda _: True)


def _admits(is_meant: Callable[[Asked], bool], operations: str = "") -> Edit:
    """Admit what the rule may refuse."""
    return at(Point.CAPABILITY, operations, lambda asked: True if is_meant(asked) else None)


def _refuses(is_meant: Callable[[Asked], bool], operations: str = "") -> Edit:
    """Refuse what the rule may admit."""
    return at(Point.CAPABILITY, operations, lambda asked: False if is_meant(asked) else None)


def _implies(held: str, required: str) -> Edit:
    """Take some capabilities for another."""
    return _admits(lambda asked: asked.required == required and asked.held >= set(held.split()))


def _wildcard_ignored(is_meant: Callable[[Asked], bool]) -> Edit:
    """Ignore the wildcard of a resource."""
    return _refuses(lambda asked: is_meant(asked) and not {"*", asked.required} & asked.held)


def _requires(operation: str, required: str) -> Edit:
    return at(Point.REQUIREMENT, operation, lambda _: required)


def _bound_names(asked: Asked) -> list[str]:
    """What the key's capabilities for this resource are bound to."""
    parts = (name.split(":") for name in asked.held)
    return [each[1] for each in parts if len(each) == 3 and each[0] == asked.resource]


def _bound_form_ignored(is_meant: Callable[[Asked], bool]) -> Edit:
    return _refuses(
        lambda asked: (
            asked.bound_to is not None
            and bool(_bound_names(asked))
            and is_meant(asked)
            and not meets(asked.held, str(asked.required))
        )
    )


def _bound_form_runs(is_taken: Callable[[str, str, Asked], bool]) -> Edit:
    """Take the name that a capability is bound to for another: ``is_taken(bound, asked_for, asked)``."""
    return _admits(
        lambda asked: any(
            asked.bound_to is not None and is_taken(name, asked.bound_to, asked)
            for name in _bound_names(asked)
        )
    )


def _bound_form_may(verb: str) -> Edit:
    return _admits(
        lambda asked: asked.resource == "workflow" and asked.verb == verb and bool(_bound_names(asked))
    )


async def _create(call: HandlerCall) -> None:
    await workflows.create_workflow(call)


async def _update(call: HandlerCall) -> None:
    change_workflow(call.store, workflows.own_workflow(call), {"description": "changed although denied"})


async def _move(call: HandlerCall) -> None:
    change_workflow(call.store, workflows.own_workflow(call), {"folderId": "moved-although-denied"})


async def _delete(call: HandlerCall) -> None:
    delete_workflow(call.store, workflows.own_workflow(call).slug)


EDITS: Edits = {
    "capability-workflow-run-unchecked": _unchecked("runWorkflow"),
    "capability-model-run-unchecked": _unchecked("runModel"),
    "capability-list-unchecked": _unchecked("listWorkflows"),
    "capability-schema-unchecked": _unchecked("getWorkflowSchema"),
    "capability-move-unchecked": _unchecked("moveWorkflow"),
    "capability-cancel-unchecked": _unchecked("cancelExecution"),
    "capability-denied-is-404": on_refusal(refused(404, "NOT_FOUND"), code=_DENIED),
    "capability-denied-is-401": on_refusal(with_status(401), code=_DENIED),
    "capability-denied-has-retired-code": on_refusal(with_value("code", "SCOPE_DENIED"), code=_DENIED),
    "capability-denied-names-nothing": on_refusal(without("required"), code=_DENIED),
    "capability-denied-names-another": on_refusal(with_value("required", ["webhook:receive"]), code=_DENIED),
    "capability-denied-names-old-scope": on_refusal(with_value("required", "deployment"), code=_DENIED),
    "capability-cancel-alone-refused": _refuses(lambda asked: asked.held == {"execution:cancel"}),
    "capability-async-needs-receive": at(
        Point.REQUIREMENT,
        "",
        lambda asked: (
            "webhook:receive" if asked.is_async and asked.required in asked.held else asked.required
        ),
    ),
    "capability-schema-needs-run": _refuses(
        lambda asked: asked.held == {"workflow:read"}, "getWorkflowSchema"
    ),
    "capability-write-alone-cannot-move": _refuses(
        lambda asked: asked.held == {"workflow:write"}, "moveWorkflow"
    ),
    "capability-write-implies-read": _implies("workflow:write", "workflow:read"),
    "capability-run-implies-read": _implies("workflow:run", "workflow:read"),
    "capability-run-implies-model-run": _implies("workflow:run", "model:run"),
    "capability-read-implies-execution-read": _implies("workflow:read", "execution:read"),
    "capability-cancel-implies-execution-read": _implies("execution:cancel", "execution:read"),
    "capability-receive-implies-execution-read": _implies("webhook:receive", "execution:read"),
    "capability-read-and-run-imply-write": _implies("workflow:read workflow:run", "workflow:write"),
    "capability-read-implies-cancel": _implies("execution:read", "execution:cancel"),
    "capability-wildcard-ignored": _wildcard_ignored(lambda asked: f"{asked.resource}:*" in asked.held),
    "capability-wildcard-lacks-cancel": _wildcard_ignored(
        lambda asked: "execution:*" in asked.held and asked.verb == "cancel"
    ),
    "capability-wildcard-lacks-writing": _wildcard_ignored(
        lambda asked: "workflow:*" in asked.held and asked.verb == "write"
    ),
    "capability-wildcard-crosses-resources": _admits(
        lambda asked: any(name.endswith(":*") for name in asked.held)
    ),
    "capability-model-wildcard-reads-workflows": _implies("model:*", "workflow:read"),
    "capability-star-lacks-executions": _refuses(
        lambda asked: "*" in asked.held and asked.resource == "execution"
    ),
    "capability-star-lacks-writing": _refuses(lambda asked: "*" in asked.held and asked.verb == "write"),
    "capability-bound-workflow-ignored": _bound_form_ignored(lambda asked: asked.resource == "workflow"),
    "capability-bound-model-ignored": _bound_form_ignored(lambda asked: asked.resource == "model"),
    "capability-bound-form-not-asynchronously": _bound_form_ignored(lambda asked: asked.is_async),
    "capability-bound-form-runs-any": _bound_form_runs(lambda *_: True),
    "capability-bound-form-matches-longer": _bound_form_runs(lambda bound, name, _: name.startswith(bound)),
    "capability-bound-form-matches-shorter": _bound_form_runs(lambda bound, name, _: bound.startswith(name)),
    "capability-bound-form-matches-end": _bound_form_runs(lambda bound, name, _: name.endswith(bound)),
    "capability-bound-form-runs-any-asynchronously": _bound_form_runs(lambda *each: each[2].is_async),
    "capability-bound-form-reads": _bound_form_may("read"),
    "capability-bound-form-writes": _bound_form_may("write"),
    "capability-whoami-needs-read": _requires("getWhoami", "workflow:read"),
    "capability-usage-needs-execution-read": _requires("listUsage", "execution:read"),
    "capability-usage-models-needs-model-run": _requires("listUsageModels", "model:run"),
    "capability-denied-create-happens": at(Point.DENIED, "createWorkflow", _create),
    "capability-denied-update-happens": at(Point.DENIED, "updateWorkflow", _update),
    "capability-denied-move-happens": at(Point.DENIED, "moveWorkflow", _move),
    "capability-denied-delete-happens": at(Point.DENIED, "deleteWorkflow", _delete),
}
