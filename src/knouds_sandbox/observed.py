"""What came in and what was answered, for a program that runs the sandbox inside itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(kw_only=True)
class ObservedExchange:
    """One request and its answer, with secrets, as sent.

    Attributes:
        target: Path and query, as sent.
        status: 0 if no answer was sent.
    """

    began_unix_s: float
    method: str
    target: bytes
    headers: Headers
    body: bytearray = field(default_factory=bytearray)
    status: int = 0
    answer_headers: Headers = field(default_factory=list)
    answer_body: bytearray = field(default_factory=bytearray)
    elapsed_ms: float = 0.0


Observer: TypeAlias = Callable[[ObservedExchange], None]


def with_observer(app: ASGIApp, observe: Observer) -> ASGIApp:
    """Wrap an app: ``observe`` gets each exchange when it is over, except those of the control plane."""

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/__sandbox__/"):
            await app(scope, receive, send)
            return
        exchange = ObservedExchange(
            began_unix_s=time.time(),
            method=scope["method"],
            target=scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b""),
            headers=list(scope["headers"]),
        )

        async def hear() -> Message:
            message = await receive()
            exchange.body += message.get("body", b"")
            return message

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.answer_headers = message["status"], list(message["headers"])
            exchange.answer_body += message.get("body", b"")
            await send(message)

        began_s = time.perf_counter()
        try:
            await app(scope, hear, tell)
        finally:
            exchange.elapsed_ms = (time.perf_counter() - began_s) * 1000
            observe(exchange)

    return observed
