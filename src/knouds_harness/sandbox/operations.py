"""The operations that need a key: their paths, handlers, and what a key has to hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from knouds_harness.sandbox import executions, runs, usage, whoami, workflows
from knouds_harness.sandbox.calls import HandlerCall

Handler = Callable[[HandlerCall], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation that needs a key.

    ``requires`` is None where any valid key will do. ``resource`` is the path parameter that a bound
    capability may name; only the run endpoints have one, and only they are rate-limited.
    """

    name: str
    method: str
    path: str
    handler: Handler
    requires: str | None = None
    resource: str | None = None


OPERATIONS = (
    Operation(name="getWhoami", method="GET", path="/api/whoami", handler=whoami.get_whoami),
    Operation(
        name="listWorkflows",
        method="GET",
        path="/api/workflows",
        handler=workflows.list_workflows,
        requires="workflow:read",
    ),
    Operation(
        name="createWorkflow",
        method="POST",
        path="/api/workflows",
        handler=workflows.create_workflow,
        requires="workflow:write",
    ),
    Operation(
        name="getWorkflow",
        method="GET",
        path="/api/workflows/{slug}",
        handler=workflows.get_workflow,
        requires="workflow:read",
    ),
    Operation(
        name="updateWorkflow",
        method="PUT",
        path="/api/workflows/{slug}",
        handler=workflows.update_workflow,
        requires="workflow:write",
    ),
    Operation(
        name="deleteWorkflow",
        method="DELETE",
        path="/api/workflows/{slug}",
        handler=workflows.remove_workflow,
        requires="workflow:write",
    ),
    Operation(
        name="moveWorkflow",
        method="PUT",
        path="/api/workflows/{slug}/move",
        handler=workflows.move_workflow,
        requires="workflow:write",
    ),
    Operation(
        name="getWorkflowSchema",
        method="GET",
        path="/api/workflows/{slug}/schema",
        handler=workflows.get_workflow_schema,
        requires="workflow:read",
    ),
    Operation(
        name="runWorkflow",
        method="POST",
        path="/api/workflows/{slug}/run",
        handler=runs.run_workflow,
        requires="workflow:run",
        resource="slug",
    ),
    Operation(
        name="runModel",
        method="POST",
        path="/api/models/{internalName}/run",
        handler=runs.run_model,
        requires="model:run",
        resource="internalName",
    ),
    Operation(
        name="getExecution",
        method="GET",
        path="/api/executions/{id}",
        handler=executions.get_execution,
        requires="execution:read",
    ),
    Operation(
        name="cancelExecution",
        method="POST",
        path="/api/executions/{id}/cancel",
        handler=executions.cancel_execution,
        requires="execution:cancel",
    ),
    Operation(name="listUsage", method="GET", path="/api/usage", handler=usage.list_usage),
    Operation(
        name="listUsageModels", method="GET", path="/api/usage/models", handler=usage.list_usage_models
    ),
)
