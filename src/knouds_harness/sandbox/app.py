"""The application: the table of operations, and the way every request goes before its handler.

Known route and method, then key, then capability, then rate limit, then resource and ownership, then body.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from knouds_harness.sandbox import control, executions, runs, usage, whoami, workflows
from knouds_harness.sandbox.authentication import authenticate
from knouds_harness.sandbox.bodies import read_json
from knouds_harness.sandbox.calls import Call, Services
from knouds_harness.sandbox.capabilities import require
from knouds_harness.sandbox.engine import Engine
from knouds_harness.sandbox.envelopes import Refusal, answer, not_found, refuse, unauthorized
from knouds_harness.sandbox.faults import check_faults
from knouds_harness.sandbox.providers import Latency
from knouds_harness.sandbox.public import get_health, get_pricing
from knouds_harness.sandbox.races import pause
from knouds_harness.sandbox.rate_limits import RateLimiter
from knouds_harness.sandbox.seeding import seed_store
from knouds_harness.sandbox.store import Store
from knouds_harness.sandbox.variants import find_variant, vary
from knouds_harness.sandbox.webhooks import Deliverer

_LOG = logging.getLogger(__name__)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Handler = Callable[[Call], Awaitable[Response]]
LimitedHandler = Callable[[Call, dict[str, str]], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation that needs a key.

    ``requires`` is None where any valid key will do. ``resource`` is the path parameter that a bound
    capability may name; only the run endpoints have one, and only they are rate-limited.
    """

    name: str
    method: str
    path: str
    handler: Handler | LimitedHandler
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

_SESSION_ONLY = (
    "/api/me",
    "/api/credits",
    "/api/credits/{rest:path}",
    "/api/api-keys",
    "/api/api-keys/{rest:path}",
    "/api/business/admin",
    "/api/business/admin/{rest:path}",
)


def build_app(
    *,
    database: Path | None = None,
    seed: int = 0,
    faults: Collection[str] = (),
    latency: Latency | None = None,
    control_token: str | None = None,
    variant: str | None = None,
    webhook_url: str | None = None,
    now_unix_s: Callable[[], float],
) -> tuple[ASGIApp, Services]:
    """Assemble a sandbox; its engine starts with the application's lifespan.

    Args:
        database: File that survives the process, or None for memory; seeded if it is new.
        seed: Fixes secrets, ids and the providers' behaviour.
        faults: Promises to break.
        latency: How long providers take; at once if None.
        control_token: Opens the control plane.
        variant: How to answer what no source settles; None for the sandbox's own way.
        webhook_url: Where deliveries of ada's seeded keys go; None for no webhook.
        now_unix_s: Clock of the rate-limit windows.

    Returns:
        The ASGI application, and its parts.

    Raises:
        UnknownName: A fault or variant that does not exist.
        UsageError: The database cannot be opened, or is none of a sandbox.
    """
    known_faults = check_faults(faults)
    chosen = find_variant(variant) if variant else None
    latency = latency or Latency()
    store = Store(database)
    if store.is_empty:
        seed_store(store, seed, webhook_url=webhook_url)
    deliverer = Deliverer(store=store, time_scale=latency.time_scale, faults=known_faults)
    services = Services(
        store=store,
        engine=Engine(store=store, deliverer=deliverer, time_scale=latency.time_scale, faults=known_faults),
        limiter=RateLimiter(now_unix_s=now_unix_s, faults=known_faults),
        latency=latency,
        seed=seed,
        faults=known_faults,
        control_token=control_token,
        judges_key_last=bool(chosen and chosen.judges_key_last),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(services.engine.serve()), asyncio.create_task(deliverer.serve())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            store.close()

    async def on_refusal(_: Request, refusal: Exception) -> Response:
        return refuse(refusal, known_faults) if isinstance(refusal, Refusal) else answer({}, status=500)

    async def on_http_exception(_: Request, exception: Exception) -> Response:
        if isinstance(exception, HTTPException) and exception.status_code == 405:
            headers = exception.headers
            return refuse(
                Refusal(405, "METHOD_NOT_ALLOWED", "This path has no such method.", headers=headers),
                known_faults,
            )
        return refuse(not_found("route"), known_faults)

    async def on_defect(request: Request, exception: Exception) -> Response:
        _LOG.error("defect of the sandbox in %s %s", request.method, request.url.path, exc_info=exception)
        return answer(
            {"error": "The sandbox has a defect; its log says more.", "code": "INTERNAL_ERROR"}, status=500
        )

    app = Starlette(
        routes=_routes(services),
        exception_handlers={Refusal: on_refusal, HTTPException: on_http_exception, Exception: on_defect},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    outermost = _with_normal_paths(app)
    return vary(outermost, chosen) if chosen else outermost, services


def _with_normal_paths(app: ASGIApp) -> ASGIApp:
    """Route on the path as it was sent, with only unreserved characters decoded.

    So an encoded slash, line break or broken percent sign stays in its segment and cannot change the route.
    """

    async def normalised(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = _ENCODED.sub(_decoded_if_unreserved, scope["raw_path"].decode("latin-1"))
        await app(scope, receive, send)

    return normalised


def _decoded_if_unreserved(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[1], 16))
    return character if character in _UNRESERVED else encoded[0]


def _routes(services: Services) -> list[Route]:
    keyed = [
        _keyed_route(services, path, list(operations))
        for path, operations in groupby(OPERATIONS, key=lambda operation: operation.path)
    ]
    public = [
        Route(path, _public(services, handler), methods=["GET"])
        for path, handler in {
            "/api/workflows/{slug}/public-schema": workflows.get_public_schema,
            "/api/pricing/public": get_pricing,
            "/api/health": get_health,
        }.items()
    ]
    session_only = [Route(path, _session_only(services), methods=_METHODS) for path in _SESSION_ONLY]
    controlled = [
        Route(f"/__sandbox__/{name}", _controlled(services, handler), methods=["POST"])
        for name, handler in {
            "keys": control.mint_key,
            "accounts": control.open_account,
            "clock": control.advance_clock,
        }.items()
    ]
    return [*keyed, *public, *session_only, *controlled]


def _keyed_route(services: Services, path: str, operations: Sequence[Operation]) -> Route:
    """One path with all its methods, so that a 405 can name them."""
    operation_by_method = {operation.method: operation for operation in operations}
    if "GET" in operation_by_method:
        operation_by_method["HEAD"] = operation_by_method["GET"]

    async def endpoint(request: Request) -> Response:
        operation = operation_by_method[request.method]
        faults = services.faults
        try:
            key = authenticate(request, operation=operation.name, store=services.store, faults=faults)
            call = Call(request=request, key=key, services=services)
            try:
                _require_capability(operation, call)
            except Refusal:
                if services.judges_key_last:
                    await _refuse_for_anything_else(operation, call)
                if faults:
                    await workflows.perform_although_denied(operation.name, call)
                raise
            if operation.resource is None:
                return await operation.handler(call)  # type: ignore[call-arg]
            seen = None
            if "rate-simultaneous-uncounted" in faults:
                seen = services.limiter.look(key, operation.name)
                await pause()
            limit_headers = services.limiter.take(key, operation.name, seen=seen)
            return await operation.handler(call, limit_headers)  # type: ignore[call-arg]
        except Refusal as refusal:
            return refuse(refusal, faults)

    return Route(path, endpoint, methods=list(operation_by_method))


async def _refuse_for_anything_else(operation: Operation, call: Call) -> None:
    """Refuse a key for what it asks for, where the order of checks puts that before what it holds.

    Raises:
        Refusal: The resource or the body is not right either.
    """
    if operation.name in ("getWorkflow", "getWorkflowSchema"):
        workflows.readable_workflow(call)
    elif operation.name in ("updateWorkflow", "moveWorkflow", "deleteWorkflow", "runWorkflow"):
        workflows.own_workflow(call)
    elif operation.name in ("getExecution", "cancelExecution"):
        executions.own_execution(call)
    if operation.resource is not None:
        await runs.read_inputs(call)
    elif operation.name in ("createWorkflow", "updateWorkflow", "moveWorkflow"):
        await read_json(call.request)


def _require_capability(operation: Operation, call: Call) -> None:
    required = operation.requires
    if operation.name == "getWhoami" and "capability-whoami-needs-read" in call.faults:
        required = "workflow:read"
    if operation.name == "listUsage" and "capability-usage-needs-execution-read" in call.faults:
        required = "execution:read"
    if operation.name == "listUsageModels" and "capability-usage-models-needs-model-run" in call.faults:
        required = "model:run"
    is_async = call.request.query_params.get("async") == "true"
    if is_async and required in call.key.capabilities and "capability-async-needs-receive" in call.faults:
        required = "webhook:receive"
    if required is None:
        return
    require(
        call.key.capabilities,
        required=required,
        operation=operation.name,
        bound_to=call.path_value(operation.resource) if operation.resource else None,
        is_async=is_async,
        faults=call.faults,
    )


def _public(services: Services, handler: Callable[[Request, Services], Response]) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        path = request.url.path
        if services.faults and not request.headers.get("x-api-key"):
            if path.endswith("/public-schema") and "auth-public-schema-needs-key" in services.faults:
                raise unauthorized()
            if path.endswith("/pricing/public") and "auth-pricing-needs-key" in services.faults:
                raise unauthorized()
            if path.endswith("/health") and "auth-health-needs-key" in services.faults:
                raise unauthorized()
        return handler(request, services)

    return endpoint


def _controlled(
    services: Services, handler: Callable[[Request, Services], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await handler(request, services)

    return endpoint


def _session_only(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Paths for browser sessions, which the sandbox has none of: every key is refused."""

    async def endpoint(request: Request) -> Response:
        path = request.url.path
        if services.faults and request.headers.get("x-api-key"):
            key = authenticate(request, operation="", store=services.store, faults=services.faults)
            if path == "/api/me" and "auth-session-me-open" in services.faults:
                return answer({"id": key.account.id, "email": key.account.email})
            if path.startswith("/api/credits") and "auth-session-credits-open" in services.faults:
                return answer({"credits": 1})
            if (
                path.startswith("/api/api-keys")
                and "*" in key.capabilities
                and "auth-session-keys-open-to-star" in services.faults
            ):
                return answer({"keys": []})
            if (
                path.startswith("/api/business")
                and key.account.is_admin
                and "auth-session-admin-open" in services.faults
            ):
                return answer({"accounts": []})
        raise unauthorized("Unauthorized: this needs a browser session; no key opens it.")

    return endpoint
