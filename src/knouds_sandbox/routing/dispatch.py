"""The way of a request to its handler: key, then capability, then rate limit, then resource and body."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from knouds_sandbox.access.authentication import authenticate
from knouds_sandbox.access.capabilities import Asked, require
from knouds_sandbox.calls import HandlerCall, Services
from knouds_sandbox.envelopes import Refusal, refuse
from knouds_sandbox.fault_points import Point
from knouds_sandbox.handlers import executions, runs, workflows
from knouds_sandbox.routing.operations import Endpoint, Handler


async def answer_operation(request: Request, operation: Endpoint, services: Services) -> Response:
    """Answer a request to an operation that needs a key."""
    try:
        key = authenticate(request, operation=operation.name, store=services.store, edits=services.edits)
        call = HandlerCall(request=request, operation=operation.name, key=key, services=services)
        await _require_capability(operation, call)
        if operation.resource is not None:
            call = await _counted(call)
        handle = operation.handler
        for around in services.edits.at(Point.HANDLER, operation.name):
            handle = _wrapped(around, handle)
        return await handle(call)
    except Refusal as refusal:
        return refuse(refusal)


def _wrapped(around: Callable[[HandlerCall, Handler], Awaitable[Response]], handle: Handler) -> Handler:
    return lambda call: around(call, handle)


async def _require_capability(operation: Endpoint, call: HandlerCall) -> None:
    if operation.requires is None and not call.services.edits:
        return
    asked = Asked(
        held=call.key.capabilities,
        required=operation.requires,
        operation=operation.name,
        bound_to=call.path_value(operation.resource) if operation.resource else None,
        is_async=call.is_async,
    )
    try:
        require(asked, call.services.edits)
    except Refusal:
        if call.services.judges_key_last:
            await _refuse_for_anything_else(operation, call)
        for happen in call.services.edits.at(Point.DENIED, operation.name):
            await happen(call)
        raise


async def _counted(call: HandlerCall) -> HandlerCall:
    seen = None
    for look in call.services.edits.at(Point.COUNT, call.operation):
        seen = await look(call)
    limit_headers = call.services.limiter.take(call.key, call.operation, seen=seen)
    return replace(call, limit_headers=limit_headers)


async def _refuse_for_anything_else(operation: Endpoint, call: HandlerCall) -> None:
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
        await call.read_body()
