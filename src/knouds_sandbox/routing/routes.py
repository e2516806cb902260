"""The routes of the sandbox. After the key, capability, rate limit, resource and body are looked at."""

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from knouds_sandbox.access.keys import CapabilityRequest, authenticate, require
from knouds_sandbox.bodies import Refusal, unauthorized
from knouds_sandbox.calls import HandlerCall, Services
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.handlers import control, runs, workflows
from knouds_sandbox.handlers.account import get_health, get_pricing
from knouds_sandbox.legal.points import looks
from knouds_sandbox.routing.operations import OPERATIONS, Endpoint
from knouds_sandbox.routing.preferences import answer_preferred
from knouds_sandbox.state.workflows import changed_members, new_members

_Answer = Callable[[Request, Services], Awaitable[Response]]
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SESSION_ONLY = (
    "/api/me",
    *(
        f"/api/{name}{rest}"
        for name in ("credits", "api-keys", "business/admin")
        for rest in ("", "/{rest:path}")
    ),
)
PUBLIC = {
    "getPublicWorkflowSchema": ("/api/workflows/{slug}/public-schema", workflows.get_public_schema),
    "getPublicPricing": ("/api/pricing/public", get_pricing),
    "getHealth": ("/api/health", get_health),
}


async def _answer_keyed(operation: Endpoint, request: Request, services: Services) -> Response:
    key = authenticate(request, operation=operation.name, store=services.store, edits=services.edits)
    call = HandlerCall(request=request, operation=operation.name, key=key, services=services)
    handle = services.edits.around(operation.name, operation.handler)
    is_edited = handle is not operation.handler
    for look in looks(services.choices):
        if not (is_edited and look in ("resource", "body")):  # these edits see what the handler refuses
            call = await _LOOKS[look](operation, call)
    response: Response = await handle(call)
    response.headers.update(call.limit_headers)
    return response


async def _require_capability(operation: Endpoint, call: HandlerCall) -> HandlerCall:
    if operation.requires is None and not call.services.edits:
        return call
    is_star_ignored = call.choices["star"] == "ignored" and not call.account.is_admin
    asked = CapabilityRequest(
        held=call.key.capabilities - {"*"} if is_star_ignored else call.key.capabilities,
        required=operation.requires,
        operation=operation.name,
        bound_to=call.path_value(operation.resource) if operation.resource else None,
        is_async=call.is_async,
    )
    try:
        require(asked, call.services.edits)
    except Refusal:
        for happen in call.services.edits.at(Point.DENIED, operation.name):
            await happen(call)
        raise
    return call


async def _counted(operation: Endpoint, call: HandlerCall) -> HandlerCall:
    limited = call.choices["limited"]
    if operation.resource is None and (
        limited == "runs" or (limited == "writes" and operation.method == "GET")
    ):
        return call
    seen = None
    for look in call.services.edits.at(Point.COUNT, call.operation):
        seen = await look(call)
    limit_headers = call.services.limiter.take(call.key, call.operation, seen=seen)
    return replace(call, limit_headers=limit_headers)


async def _look_at_resource(operation: Endpoint, call: HandlerCall) -> HandlerCall:
    if operation.name in _RESOURCE:
        _RESOURCE[operation.name](call)
    return call


async def _look_at_body(operation: Endpoint, call: HandlerCall) -> HandlerCall:
    if operation.resource is not None:
        await runs.read_inputs(call)
    elif operation.name in _DOCUMENT:
        _DOCUMENT[operation.name](await call.read_body())
    return call


_LOOKS = {
    "capability": _require_capability,
    "count": _counted,
    "resource": _look_at_resource,
    "body": _look_at_body,
}
_RESOURCE: Mapping[str, Callable[[HandlerCall], object]] = {
    "getWorkflow": workflows.readable_workflow,
    "getWorkflowSchema": workflows.readable_workflow,
    "updateWorkflow": workflows.own_workflow,
    "moveWorkflow": workflows.own_workflow,
    "deleteWorkflow": workflows.own_workflow,
    "runWorkflow": runs.runnable_workflow,
    "runModel": runs.runnable_model,
    "getExecution": runs.own_execution,
    "cancelExecution": runs.own_execution,
}
_DOCUMENT: Mapping[str, Callable[[Any], object]] = {
    "createWorkflow": new_members,
    "updateWorkflow": changed_members,
    "moveWorkflow": workflows.folder_members,
}


def make_routes(services: Services) -> list[Route]:
    answers: dict[str, dict[str, tuple[str, _Answer]]] = defaultdict(dict)
    for operation in OPERATIONS:
        answers[operation.path][operation.method] = operation.name, partial(_answer_keyed, operation)
    for name, (path, handler) in PUBLIC.items():
        answers[path]["GET"] = name, handler
    of_operations = [
        Route(
            path, _endpoint(services, by_method), methods=list(by_method)
        )  # one for each path: a 405 lists them
        for path, by_method in answers.items()
    ]
    session_only = [Route(path, _refuse_key, methods=_METHODS) for path in _SESSION_ONLY]
    controlled = [
        Route(
            f"/__sandbox__/{name}",
            partial(control.answer_control, (method, name), services),
            methods=[method],
        )
        for method, name in control.HANDLERS
    ]
    return [*of_operations, *session_only, *controlled]


def _endpoint(
    services: Services, answer_by_method: Mapping[str, tuple[str, _Answer]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        name, answer = answer_by_method["GET" if request.method == "HEAD" else request.method]
        request.scope["operation"] = name
        return await answer_preferred(request, name, services, partial(answer, request, services))

    return endpoint


async def _refuse_key(_: Request) -> Response:
    """Refuse every request to paths for browser sessions, as the sandbox has no sessions."""
    raise unauthorized("Unauthorized: this needs a browser session; no key opens it.")


def with_normal_paths(app: ASGIApp, edits: ActiveEdits) -> ASGIApp:
    """Route by the path as sent, with only unreserved characters decoded.

    So an encoded slash, line break or broken percent sign stays in its segment and cannot change the route.
    """

    async def normalised(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = _ENCODED.sub(_decoded_if_unreserved, scope["raw_path"].decode("latin-1"))
            for edit in edits.at(Point.ROUTE, "", lambda: (scope["method"], scope["path"])):
                edit(scope)
        await app(scope, receive, send)

    return normalised


def _decoded_if_unreserved(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[1], 16))
    return character if character in _UNRESERVED else encoded[0]
