"""``Prefer`` (RFC 7240): a request chooses its outcome, a delay, how its execution ends, or a broken answer.

This needs ``--prefer`` (docs/decisions/asking-for-outcomes.md). A chosen outcome is answered before the
request is checked, and changes no state; of ``wire=``, the request is carried out as usual, and its answer is
lost, cut off or slow. Outcomes have the names of recordings.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple, cast
from urllib.request import parse_http_list

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.access.rate_limits import over_limit
from knouds_sandbox.answers import held
from knouds_sandbox.bodies import Refusal, refuse
from knouds_sandbox.calls import Services
from knouds_sandbox.legal.between import overloaded, page
from knouds_sandbox.routing.operations import OPERATIONS
from knouds_sandbox.state.accounts import UNLIMITED, find_key

ENDS_OF_SYNC_RUNS = ("completed", "failed")
ENDS = (*ENDS_OF_SYNC_RUNS, "cancelled", "processing")
"""How an execution can be made to end; ``processing`` stays in flight until it is cancelled."""
TRANSPORT = "knouds_sandbox.transport"
"""The key of an ASGI scope that holds the transport of the connection, which ASGI itself does not show."""
WIRE = "knouds_sandbox.wire"
"""The key of an ASGI scope that holds what happens to the answer, and over how many seconds."""
SLOW_S = 10.0

_PIECES = 10
_AT_ONCE = struct.pack("ii", 1, 0)
_RETRY_AFTER_S = 30
_MOST_COUNTED = 10_000


class Outcome(NamedTuple):
    """A refusal that a request may ask for, and the operations that have it."""

    status: int
    code: str
    operations: Collection[str]


_OPERATION_BY_NAME = {operation.name: operation for operation in OPERATIONS}
_CAPABLE = {operation.name for operation in OPERATIONS if operation.requires}
_ALL = {*_OPERATION_BY_NAME, "getPublicWorkflowSchema", "getPublicPricing", "getHealth"}
_RUNS = {"runWorkflow", "runModel"}
_WRITES = {"updateWorkflow", "moveWorkflow", "deleteWorkflow"}
_WITH_DOCUMENT = {"createWorkflow", "updateWorkflow", "moveWorkflow"}
_OF_A_WORKFLOW = {"getWorkflow", "getWorkflowSchema", "getPublicWorkflowSchema", *_WRITES, "runWorkflow"}

OUTCOMES: Mapping[str, Outcome] = {
    "not-json": Outcome(400, "INVALID_BODY", _WITH_DOCUMENT | _RUNS),
    "no-inputs": Outcome(400, "INVALID_INPUTS", _RUNS),
    "bad-name": Outcome(400, "INVALID_SLUG", _OF_A_WORKFLOW | _RUNS),
    "async-not-supported": Outcome(400, "ASYNC_NOT_SUPPORTED", {"runModel"}),
    "no-key": Outcome(401, "UNAUTHORIZED", _OPERATION_BY_NAME),
    "legacy": Outcome(401, "LEGACY_KEY_RETIRED", _OPERATION_BY_NAME),
    "no-credits": Outcome(402, "INSUFFICIENT_CREDITS", _RUNS),
    "grant-used-up": Outcome(402, "grant_exhausted", _RUNS),
    "lacks-capability": Outcome(403, "CAPABILITY_DENIED", _CAPABLE),
    "above-tier": Outcome(403, "MODEL_TIER_REQUIRED", {"runModel"}),
    "second-of-free-account": Outcome(403, "WORKFLOW_LIMIT_REACHED", {"createWorkflow"}),
    "template": Outcome(403, "FORBIDDEN", _WRITES),
    "unknown": Outcome(404, "NOT_FOUND", _OF_A_WORKFLOW | {"getExecution", "cancelExecution"}),
    "unknown-model": Outcome(404, "MODEL_NOT_FOUND", {"runModel"}),
    "ended": Outcome(409, "EXECUTION_ENDED", {"cancelExecution"}),
    "too-large": Outcome(413, "BODY_TOO_LARGE", _WITH_DOCUMENT | _RUNS),
    "over-limit": Outcome(429, "RATE_LIMIT_EXCEEDED", _ALL),
    "provider-failed": Outcome(500, "EXECUTION_FAILED", _RUNS),
}
"""By name; ``code=STATUS`` selects the first one with that status."""

GATEWAY_PAGES: Mapping[str, Callable[[], Response]] = {
    "502": lambda: page(502, "502 Bad Gateway", "nginx"),
    "503": overloaded,
    "504": lambda: page(504, "504 Gateway Time-out", "nginx"),
}
"""``code=STATUS`` that something in front of the API answers any operation with, without the envelope."""


async def answer_preferred(
    request: Request, operation: str, services: Services, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """Answer as ``Prefer`` says; without it, or if preferences are off, answer as usual."""
    if not services.allows_prefer or "prefer" not in request.headers:
        return await answer()
    preferred = _parsed(request, operation)
    if "times" in preferred and _count(request, services) > int(preferred["times"]):
        return await answer()
    applied = {name: value for name, value in preferred.items() if name != "execution"}
    if wire := preferred.get("wire"):
        span_s = int(preferred.pop("delay_ms", SLOW_S * 1000)) / 1000 if wire == "slow" else 0
        request.scope[WIRE] = (wire, span_s)
    if asked := preferred.get("code") or preferred.get("example"):
        response = _asked_for(asked, request, operation, services)
    else:
        request.scope["preferred_end"] = preferred.get("execution")
        try:
            response = await answer()
        except Refusal as refusal:
            response = refuse(refusal)
        if "execution" in preferred and response.status_code in {200, 202, 500}:
            applied["execution"] = preferred["execution"]
    if delay_ms := int(preferred.get("delay_ms", 0)):
        await asyncio.sleep(delay_ms / 1000)
    if applied:
        response.headers["Preference-Applied"] = ", ".join(map("=".join, applied.items()))
    return response


def _count(request: Request, services: Services) -> int:
    """Count the requests like this one: same key, method, path and query, and preferences."""
    counts: dict[tuple[str, ...], int] = services.noted.setdefault("preferred", {})
    sent = (request.headers.get("x-api-key", ""), *request.headers.getlist("prefer"))
    like = (request.method, str(request.url), *sent)
    counts[like] = counts.pop(like, 0) + 1
    if len(counts) > _MOST_COUNTED:
        del counts[next(iter(counts))]
    return counts[like]


def outcomes_of(operation: str) -> list[str]:
    return [name for name, outcome in OUTCOMES.items() if operation in outcome.operations]


def _parsed(request: Request, operation: str) -> dict[str, str]:
    """Return the preferences as sent; of two, or of ``code`` and ``example``, the first counts (RFC 7240)."""
    known = _known(operation, is_async=request.query_params.get("async") == "true")
    preferred: dict[str, str] = {}
    for each in parse_http_list(", ".join(request.headers.getlist("prefer"))):
        name, _, quoted = each.partition("=")
        name, value = name.strip().lower(), quoted.strip().strip('"')
        rivals = {"code", "example"} if name in {"code", "example"} else {name}
        if rivals & preferred.keys():
            continue
        if name not in known or not _is_among(value, known[name]):
            knows = f"{name}= ({_in_words(known[name])})" if name in known else ", ".join(known)
            error = f'Prefer: "{each}" is unknown. {operation} knows {knows}.'
            raise Refusal(400, "INVALID_PREFERENCE", error)
        preferred[name] = value
    return preferred


def _known(operation: str, *, is_async: bool) -> dict[str, Collection[str] | range]:
    outcomes = outcomes_of(operation)
    codes = dict.fromkeys(str(part) for each in outcomes for part in OUTCOMES[each][:2])
    known: dict[str, Collection[str] | range] = {
        "code": [*codes, *GATEWAY_PAGES],
        "example": outcomes,
        "delay_ms": range(600_001),
        "times": range(1, 10_000),
        "wire": ("drop", "reset", "cut", "slow"),
    }
    if operation in _RUNS:
        known["execution"] = ENDS if is_async else ENDS_OF_SYNC_RUNS
    return known


def _is_among(value: str, values: Collection[str] | range) -> bool:
    if isinstance(values, range):
        return len(value) < 7 and value.isdecimal() and int(value) in values
    return value in values


def _in_words(values: Collection[str] | range) -> str:
    return f"{values[0]} to {values[-1]}" if isinstance(values, range) else ", ".join(values)


def _asked_for(asked: str, request: Request, operation: str, services: Services) -> Response:
    """Answer with the first outcome that has this name, status or code."""
    if asked in GATEWAY_PAGES:
        return GATEWAY_PAGES[asked]()
    name = next(each for each in outcomes_of(operation) if asked in (each, *map(str, OUTCOMES[each][:2])))
    status, code, _ = OUTCOMES[name]
    if code == "RATE_LIMIT_EXCEEDED":
        closes_unix_s = int(services.limiter.now_unix_s() + _RETRY_AFTER_S)
        key = find_key(services.store, request.headers.get("x-api-key", ""))
        is_limited = key is not None and key.account.rate_limit != UNLIMITED
        tier, limit = (key.account.tier, key.account.rate_limit) if key and is_limited else ("pro", 100)
        return refuse(over_limit(tier, limit, closes_unix_s=closes_unix_s, retry_after_s=_RETRY_AFTER_S))
    context: dict[str, Any] = {}
    if code == "CAPABILITY_DENIED":
        context["required"] = [_OPERATION_BY_NAME[operation].requires]
    return refuse(Refusal(status, code, f"Prefer asked for this outcome: {name}.", **context))


def with_wire(app: ASGIApp) -> ASGIApp:
    """Wrap an app: the answer to a request whose scope has ``WIRE`` is lost, cut off or slow."""

    async def wired(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        start, body = await held(app, scope, receive)
        wire, span_s = scope.get(WIRE, ("", 0))
        if wire not in {"drop", "reset"}:
            await send(start)
        if not wire:
            await send({"type": "http.response.body", "body": body})
            return
        if wire == "slow":
            for piece in range(_PIECES):
                await asyncio.sleep(span_s / _PIECES)
                await send(_part(body[piece * len(body) // _PIECES : (piece + 1) * len(body) // _PIECES]))
            await send({"type": "http.response.body", "body": b""})
            return
        if wire == "cut":
            await send(_part(body[: len(body) // 2]))
        _close(cast("asyncio.Transport", scope[TRANSPORT]), is_reset=wire == "reset")
        while (await receive())["type"] != "http.disconnect":
            pass

    return wired


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _close(transport: asyncio.Transport, *, is_reset: bool) -> None:
    """Close a connection: with what was sent still on its way, or with a reset (RST) in its place."""
    if is_reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
    else:
        transport.close()
