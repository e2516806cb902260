"""The operations that need a key: their paths, handlers and required capabilities."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.handlers import account, runs, workflows

Handler = Callable[[HandlerCall], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation that needs a key.

    ``requires`` is None if any valid key will do. ``resource`` is the path parameter that a bound capability
    may name; only the run endpoints have one, and only they are rate-limited.
    """

    name: str
    method: str
    path: str
    handler: Handler
    requires: str | None = None
    resource: str | None = None


OPERATIONS = (
    Endpoint("getWhoami", "GET", "/api/whoami", account.get_whoami),
    Endpoint("listWorkflows", "GET", "/api/workflows", workflows.list_workflows, "workflow:read"),
    Endpoint("createWorkflow", "POST", "/api/workflows", workflows.create_workflow, "workflow:write"),
    Endpoint("getWorkflow", "GET", "/api/workflows/{slug}", workflows.get_workflow, "workflow:read"),
    Endpoint("updateWorkflow", "PUT", "/api/workflows/{slug}", workflows.update_workflow, "workflow:write"),
    Endpoint(
        "deleteWorkflow", "DELETE", "/api/workflows/{slug}", workflows.remove_workflow, "workflow:write"
    ),
    Endpoint("moveWorkflow", "PUT", "/api/workflows/{slug}/move", workflows.move_workflow, "workflow:write"),
    Endpoint(
        "getWorkflowSchema",
        "GET",
        "/api/workflows/{slug}/schema",
        workflows.get_workflow_schema,
        "workflow:read",
    ),
    Endpoint(
        "runWorkflow", "POST", "/api/workflows/{slug}/run", runs.run_workflow, "workflow:run", resource="slug"
    ),
    Endpoint(
        "runModel",
        "POST",
        "/api/models/{internalName}/run",
        runs.run_model,
        "model:run",
        resource="internalName",
    ),
    Endpoint("getExecution", "GET", "/api/executions/{id}", runs.get_execution, "execution:read"),
    Endpoint(
        "cancelExecution", "POST", "/api/executions/{id}/cancel", runs.cancel_execution, "execution:cancel"
    ),
    Endpoint("listUsage", "GET", "/api/usage", account.list_usage),
    Endpoint("listUsageModels", "GET", "/api/usage/models", account.list_usage_models),
)
