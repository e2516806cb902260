"""An intermediary in front of the server: what real deployments put there, with answers of its own.

Its answers do not come from the API: text or HTML, with its own ``Server``, without the envelope.
"""

import asyncio
import re

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.answers import Headers, held, is_of_api
from knouds_sandbox.legal.points import Choices

_SIZES = {"64K": 64 * 1024, "256K": 256 * 1024}
_MARKUP = re.compile(rb"<script|javascript:|onerror=|union\s+select|%3Cscript", re.IGNORECASE)
_PATHS = re.compile(rb"\.\./|%2e%2e|%00|%0a|//|;", re.IGNORECASE)
_COMMON = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_ADDED = ((b"via", b"1.1 edge-7"), (b"x-cache", b"MISS"), (b"server", b"nginx"), (b"x-served-by", b"edge-7"))
_RENAMED = {b"x-request-id": b"x-amzn-requestid", b"connection": b"x-origin-connection"}
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>\n"


def with_intermediary(app: ASGIApp, choices: Choices) -> ASGIApp:
    """Wrap an app in what these choices put in front of it; the control plane is reached directly."""
    most = int(choices["in-flight"]) if choices["in-flight"] != "any" else None
    most_bytes = _SIZES.get(choices["longest-body"])
    delay_s = int(choices["delay-ms"]) / 1000
    in_flight = 0

    async def passed(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal in_flight
        if not is_of_api(scope):
            await app(scope, receive, send)
            return
        if most is not None and in_flight >= most:
            await overloaded()(scope, receive, send)
            return
        in_flight += 1
        try:
            if delay_s:
                await asyncio.sleep(delay_s)
            body = await _body(receive)
            refusal = _refused(scope, body, choices, most_bytes)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
            if choices["slashes"] == "merged":
                scope["raw_path"] = re.sub(rb"/{2,}", b"/", scope["raw_path"])
            start, content = await held(app, scope, _replayed(body, receive))
            start["headers"] = _passed_on(start["headers"], choices["headers"])
            await send(start)
            await send({"type": "http.response.body", "body": content})
        finally:
            in_flight -= 1

    return passed


def _refused(scope: Scope, body: bytes, choices: Choices, most_bytes: int | None) -> Response | None:
    target = scope["raw_path"] + b"?" + scope["query_string"]
    if choices["methods"] == "common" and scope["method"] not in _COMMON:
        return page(405, "405 Not Allowed", "nginx")
    if most_bytes is not None and len(body) > most_bytes:
        return page(413, "413 Request Entity Too Large", "nginx")
    is_refused = {"markup": _MARKUP.search(target + body), "paths": _PATHS.search(target), "none": None}[
        choices["firewall"]
    ]
    return page(403, "403 Forbidden", "cloudflare") if is_refused else None


def overloaded() -> Response:
    text = "upstream connect error or disconnect/reset before headers"
    return Response(text, 503, {"server": "envoy"}, "text/plain")


def page(status: int, title: str, server: str) -> Response:
    return Response(_PAGE.format(title), status, {"server": server}, "text/html")


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def hear() -> Message:
        return messages.pop() if messages else await receive()

    return hear


def _passed_on(headers: Headers, change: str) -> Headers:
    if change == "renamed":
        return [(_RENAMED.get(name.lower(), name), value) for name, value in headers]
    return [*headers, *_ADDED] if change == "added" else headers
