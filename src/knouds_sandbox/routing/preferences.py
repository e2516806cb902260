"""``Prefer`` (RFC 7240): a request chooses its outcome, a delay, how its execution ends, or a broken answer.

This needs ``--prefer`` (docs/decisions/asking-for-outcomes.md). A chosen outcome is answered before the
request is checked, and changes no state; of ``wire=``, the request is carried out as usual, and its answer is
lost, cut off or slow. Outcomes have the names of recordings.
"""

import asyncio
import difflib
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, cast
from urllib.request import parse_http_list

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.access.rate_limits import over_limit
from knouds_sandbox.bodies import Refusal, refuse
from knouds_sandbox.calls import Services
from knouds_sandbox.legal.between import overloaded, page
from knouds_sandbox.routing.operations import OPERATIONS
from knouds_sandbox.state.accounts import UNLIMITED, find_key

MAX_DELAY_MS = 600_000
ENDS_OF_SYNC_RUNS = ("completed", "failed")
ENDS = (*ENDS_OF_SYNC_RUNS, "cancelled", "processing")
"""How an execution can be made to end; ``processing`` stays in flight until it is cancelled."""
TRANSPORT = "knouds_sandbox.transport"
"""The key of an ASGI scope that holds the transport of the connection, which ASGI itself does not show."""
WIRE = "knouds_sandbox.wire"
"""The key of an ASGI scope that holds what happens to the answer, and over how many seconds."""
WIRES = ("drop", "reset", "cut", "slow")
SLOW_S = 10.0

_DELAY = re.compile("[0-9]{1,6}")
_PIECES = 10
_AT_ONCE = struct.pack("ii", 1, 0)

_RETRY_AFTER_S = 30
_MOST_COUNTED = 10_000

OUTCOMES: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "not-json": (400, "INVALID_BODY"),
        "no-inputs": (400, "INVALID_INPUTS"),
        "bad-name": (400, "INVALID_SLUG"),
        "async-not-supported": (400, "ASYNC_NOT_SUPPORTED"),
        "no-key": (401, "UNAUTHORIZED"),
        "legacy": (401, "LEGACY_KEY_RETIRED"),
        "no-credits": (402, "INSUFFICIENT_CREDITS"),
        "grant-used-up": (402, "grant_exhausted"),
        "lacks-capability": (403, "CAPABILITY_DENIED"),
        "above-tier": (403, "MODEL_TIER_REQUIRED"),
        "second-of-free-account": (403, "WORKFLOW_LIMIT_REACHED"),
        "template": (403, "FORBIDDEN"),
        "unknown": (404, "NOT_FOUND"),
        "unknown-model": (404, "MODEL_NOT_FOUND"),
        "ended": (409, "EXECUTION_ENDED"),
        "too-large": (413, "BODY_TOO_LARGE"),
        "over-limit": (429, "RATE_LIMIT_EXCEEDED"),
        "provider-failed": (500, "EXECUTION_FAILED"),
    }
)
"""Status and code of each outcome; ``code=STATUS`` selects the first one with that status."""

GATEWAY_PAGES: Mapping[str, Callable[[], Response]] = MappingProxyType(
    {
        "502": lambda: page(502, "502 Bad Gateway", "nginx"),
        "503": overloaded,
        "504": lambda: page(504, "504 Gateway Time-out", "nginx"),
    }
)
"""``code=STATUS`` that something in front of the API answers any operation with, without the envelope."""

_BODY = {"not-json", "too-large"}
_SLUG = {"bad-name", "unknown"}
_RUN = {*_BODY, "no-inputs", "bad-name", "no-credits", "grant-used-up", "provider-failed"}
_SPECIAL: Mapping[str, set[str]] = MappingProxyType(
    {
        "createWorkflow": {*_BODY, "second-of-free-account"},
        "getWorkflow": _SLUG,
        "getWorkflowSchema": _SLUG,
        "getPublicWorkflowSchema": _SLUG,
        "updateWorkflow": {*_BODY, *_SLUG, "template"},
        "moveWorkflow": {*_BODY, *_SLUG, "template"},
        "deleteWorkflow": {*_SLUG, "template"},
        "runWorkflow": {*_RUN, "unknown"},
        "runModel": {*_RUN, "async-not-supported", "above-tier", "unknown-model"},
        "getExecution": {"unknown"},
        "cancelExecution": {"unknown", "ended"},
    }
)
_OPERATION_BY_NAME = {operation.name: operation for operation in OPERATIONS}


def outcomes_of(operation: str) -> list[str]:
    keyed = _OPERATION_BY_NAME.get(operation)
    names = {"over-limit", *_SPECIAL.get(operation, ())}
    if keyed is not None:
        names |= {"no-key", "legacy"}
        names |= {"lacks-capability"} if keyed.requires else set()
    return [name for name in OUTCOMES if name in names]


async def answer_preferred(
    request: Request, operation: str, services: Services, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """Answer as ``Prefer`` says; without it, or if preferences are off, answer as usual."""
    if not services.allows_prefer or "prefer" not in request.headers:
        return await answer()
    preferred = _parsed(request, operation)
    if "times" in preferred and _count(request, services) > int(preferred["times"]):
        return await answer()
    applied = {name: value for name, value in preferred.items() if name not in {"execution", "outcome"}}
    if "wire" in preferred:
        span_s = int(preferred.pop("delay_ms", SLOW_S * 1000)) / 1000 if preferred["wire"] == "slow" else 0
        request.scope[WIRE] = (preferred["wire"], span_s)
    if preferred.get("outcome") in GATEWAY_PAGES:
        response = GATEWAY_PAGES[preferred["outcome"]]()
    elif "outcome" in preferred:
        response = refuse(_refusal(preferred["outcome"], request, operation, services))
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
        response.headers["Preference-Applied"] = ", ".join(
            f"{name}={value}" for name, value in applied.items()
        )
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


def _parsed(request: Request, operation: str) -> dict[str, str]:
    """Return the preferences as sent; ``outcome`` has the name of the chosen outcome."""
    known = _known(operation, is_async=request.query_params.get("async") == "true")
    preferred: dict[str, str] = {}
    for each in parse_http_list(", ".join(request.headers.getlist("prefer"))):
        name, _, quoted = each.partition("=")
        name, value = name.strip().lower(), quoted.strip().strip('"')
        is_of_outcome = name in ("code", "example")
        if name in preferred or (is_of_outcome and "outcome" in preferred):
            continue  # RFC 7240: the first one counts
        if name not in known or not known[name][1](value):
            says = (
                f"{operation} knows {name}= ({known[name][0]})."
                if name in known
                else _nearest(name, operation, known)
            )
            raise Refusal(400, "INVALID_PREFERENCE", f'Prefer: "{each}" is unknown. {says}')
        preferred[name] = value
        if is_of_outcome:
            of_code = (each for each in outcomes_of(operation) if value in map(str, OUTCOMES[each]))
            preferred["outcome"] = value if name == "example" else next(of_code, value)
    return preferred


def _known(operation: str, *, is_async: bool) -> dict[str, tuple[str, Callable[[str], object]]]:
    """Return what each preference of an operation may be: in words, and whether a value is one of these."""
    outcomes = outcomes_of(operation)
    codes = dict.fromkeys([*(str(part) for each in outcomes for part in OUTCOMES[each]), *GATEWAY_PAGES])
    known: dict[str, tuple[str, Callable[[str], object]]] = {
        "code": (", ".join(codes), codes.__contains__),
        "example": (", ".join(outcomes), outcomes.__contains__),
        "delay_ms": (f"0 to {MAX_DELAY_MS}", lambda ms: _DELAY.fullmatch(ms) and int(ms) <= MAX_DELAY_MS),
        "times": ("1 to 9999", re.compile("[1-9][0-9]{0,3}").fullmatch),
        "wire": (", ".join(WIRES), WIRES.__contains__),
    }
    if operation in _OPERATION_BY_NAME and _OPERATION_BY_NAME[operation].resource is not None:
        only_async = ", ".join(end for end in ENDS if end not in ENDS_OF_SYNC_RUNS)
        words = f"{', '.join(ENDS_OF_SYNC_RUNS)}; with ?async=true also {only_async}"
        known["execution"] = (words, (ENDS if is_async else ENDS_OF_SYNC_RUNS).__contains__)
    return known


def _nearest(name: str, operation: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    meant = f'Did you mean "{nearest[0]}"? ' if nearest else ""
    return f"{meant}{operation} knows {', '.join(known)}."


def _refusal(outcome: str, request: Request, operation: str, services: Services) -> Refusal:
    status, code = OUTCOMES[outcome]
    if code == "RATE_LIMIT_EXCEEDED":
        closes_unix_s = services.limiter.now_unix_s() + _RETRY_AFTER_S
        key = find_key(services.store, request.headers.get("x-api-key", ""))
        is_limited = key is not None and key.account.rate_limit != UNLIMITED
        tier, limit = (key.account.tier, key.account.rate_limit) if key and is_limited else ("pro", 100)
        return over_limit(tier, limit, closes_unix_s=int(closes_unix_s), retry_after_s=_RETRY_AFTER_S)
    context: dict[str, Any] = {}
    if code == "CAPABILITY_DENIED":
        context["required"] = [_OPERATION_BY_NAME[operation].requires]
    return Refusal(status, code, f"Prefer asked for this outcome: {outcome}.", **context)


def with_wire(app: ASGIApp) -> ASGIApp:
    """Wrap an app: the answer to a request whose scope has ``WIRE`` is held until it is whole."""

    async def wired(scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold(message: Message) -> None:
            if WIRE in scope:
                held.append(message)
            else:
                await send(message)

        await app(scope, receive, hold)
        if held:
            wire, span_s = scope[WIRE]
            body = b"".join(message.get("body", b"") for message in held)
            if wire == "slow":
                await _send_slowly(held[0], body, span_s, send)
                return
            if wire == "cut":
                await send(held[0])
                await send(_part(body[: len(body) // 2]))
            _close(cast("asyncio.Transport", scope[TRANSPORT]), is_reset=wire == "reset")
            while (await receive())["type"] != "http.disconnect":
                pass

    return wired


async def _send_slowly(start: Message, body: bytes, span_s: float, send: Send) -> None:
    await send(start)
    for piece in range(_PIECES):
        await asyncio.sleep(span_s / _PIECES)
        await send(_part(body[piece * len(body) // _PIECES : (piece + 1) * len(body) // _PIECES]))
    await send({"type": "http.response.body", "body": b""})


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _close(transport: asyncio.Transport, *, is_reset: bool) -> None:
    """Close a connection: with what was sent still on its way, or with a reset (RST) in its place."""
    if is_reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
    else:
        transport.close()
