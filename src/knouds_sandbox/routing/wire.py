"""``Prefer: wire=``: a request is carried out as usual, and its answer is lost, cut off or slow."""

import asyncio
import socket
import struct
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRANSPORT = "knouds_sandbox.transport"
"""The key of an ASGI scope that holds the transport of the connection, which ASGI itself does not show."""
WIRE = "knouds_sandbox.wire"
"""The key of an ASGI scope that holds what happens to the answer, and over how many seconds."""
WIRES = ("drop", "reset", "cut", "slow")
SLOW_S = 10.0

_PIECES = 10
_AT_ONCE = struct.pack("ii", 1, 0)


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
