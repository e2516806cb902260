"""The operations that need a key: their paths, handlers and required capabilities."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.handlers import account, runs, workflows

Handler = Callable[[HandlerCall], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation that needs a key; ``requires`` is None if any valid key will do."""

    name: str
    method: str
    path: str
    handler: Handler
    requires: str | None = None

    @property
    def resource(self) -> str | None:
        """The path parameter that a bound capability may name; only run endpoints have one."""
        return {"runWorkflow": "slug", "runModel": "internalName"}.get(self.name)


OPERATIONS = (
    Endpoint("getWhoami", "GET", "/api/whoami", account.get_whoami),
    Endpoint("listWorkflows", "GET", "/api/workflows", workflows.list_workflows, "workflow:read"),
    Endpoint("createWorkflow", "POST", "/api/workflows", workflows.create_workflow, "workflow:write"),
    Endpoint("getWorkflow", "GET", "/api/workflows/{slug}", workflows.get_workflow, "workflow:read"),
    Endpoint("updateWorkflow", "PUT", "/api/workflows/{slug}", workflows.update_workflow, "workflow:write"),
    Endpoint("deleteWorkflow", "DELETE", "/api/workflows/{slug}", workflows.delete, "workflow:write"),
    Endpoint("moveWorkflow", "PUT", "/api/workflows/{slug}/move", workflows.move_workflow, "workflow:write"),
    Endpoint(
        "getWorkflowSchema", "GET", "/api/workflows/{slug}/schema", workflows.get_schema, "workflow:read"
    ),
    Endpoint("runWorkflow", "POST", "/api/workflows/{slug}/run", runs.run_workflow, "workflow:run"),
    Endpoint("runModel", "POST", "/api/models/{internalName}/run", runs.run_model, "model:run"),
    Endpoint("getExecution", "GET", "/api/executions/{id}", runs.get_execution, "execution:read"),
    Endpoint(
        "cancelExecution", "POST", "/api/executions/{id}/cancel", runs.cancel_execution, "execution:cancel"
    ),
    Endpoint("listUsage", "GET", "/api/usage", account.list_usage),
    Endpoint("listUsageModels", "GET", "/api/usage/models", account.list_usage_models),
)
