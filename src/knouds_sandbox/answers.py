"""Responses on their way out: choices on open points and faults change them; a program may observe them."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.bodies import MAX_SIZE_BYTES, as_json
from knouds_sandbox.calls import Services
from knouds_sandbox.state.accounts import Key, find_key
from knouds_sandbox.state.store import Store


@dataclass(kw_only=True)
class OutgoingAnswer:
    """One outgoing response, to be changed in place; ``content``, if set, is sent instead of ``body``."""

    request: Request
    services: Services
    status: int
    headers: dict[str, str]
    body: Any
    number: int
    content: bytes | None = None
    is_chunked: bool = False

    @property
    def operation(self) -> str:
        return str(self.request.scope.get("operation", ""))

    @property
    def path_params(self) -> Mapping[str, str]:
        return self.request.path_params

    @property
    def route(self) -> str:
        """Method and path as sent, such as ``GET /api/whoami``."""
        return f"{self.request.method} {self.request.scope['raw_path'].decode('latin-1')}"

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def key(self) -> Key | None:
        """The key of ``x-api-key`` in any state; None if it is unknown."""
        return find_key(self.store, self.request.headers.get("x-api-key", ""))

    @property
    def takes_gzip(self) -> bool:
        return any("gzip" in value.lower() for value in self.request.headers.getlist("accept-encoding"))

    @property
    def is_success(self) -> bool:
        return self.status < 300

    @property
    def code(self) -> str | None:
        return self.body.get("code") if self.status >= 400 and isinstance(self.body, dict) else None

    def shown(self) -> tuple[object, ...]:
        return self.status, dict(self.headers), self.content, repr(self.body)

    def refuse(self, status: int, code: str, error: str = "Refused.", **context: Any) -> None:
        self.status, self.body = status, {"error": error, "code": code, **context}


AnswerEdit: TypeAlias = Callable[[OutgoingAnswer], object]


def where(is_meant: Callable[[OutgoingAnswer], object], edit: AnswerEdit) -> AnswerEdit:
    return lambda answer: edit(answer) if is_meant(answer) else None


def answered(status: int | None = None, make: Callable[[Any], Any] | None = None) -> AnswerEdit:
    """Answer with another status, or another body that is made of the handler's."""

    def apply(answer: OutgoingAnswer) -> None:
        answer.status = status or answer.status
        answer.body = make(answer.body) if make else answer.body

    return apply


async def held(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """Have an app answer; return the start of its answer, and the whole body."""
    messages: list[Message] = []

    async def hold(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, hold)
    return messages[0], b"".join(message.get("body", b"") for message in messages)


def is_of_api(scope: Scope) -> bool:
    """Return whether this is a request, and not one to the control plane, which is reached directly."""
    return scope["type"] == "http" and not scope["path"].startswith("/__sandbox__/")


def change_answers(app: ASGIApp, services: Services, changes: Sequence[AnswerEdit]) -> ASGIApp:
    """Wrap an app: apply ``changes`` to each response, except those of the control plane."""
    numbers = count()

    async def changed(scope: Scope, receive: Receive, send: Send) -> None:
        if not is_of_api(scope):
            await app(scope, receive, send)
            return
        start, content = await held(app, scope, receive)
        if (b"content-type", b"application/json") not in start["headers"]:  # a gateway's, by Prefer
            await send(start)
            await send({"type": "http.response.body", "body": content})
            return
        answer = OutgoingAnswer(
            request=Request(scope),
            services=services,
            status=start["status"],
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]},
            body=json.loads(content),
            number=next(numbers),
        )
        for change in changes:
            change(answer)
        await _send(answer, send)

    return changed


async def _send(answer: OutgoingAnswer, send: Send) -> None:
    content = as_json(answer.body) if answer.content is None else answer.content
    answer.headers = {
        name: value for name, value in answer.headers.items() if name.lower() != "content-length"
    }
    if answer.status != 204 and not answer.is_chunked:
        answer.headers["content-length"] = str(len(content))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


Headers: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(kw_only=True)
class ObservedExchange:
    """One request and its answer, with secrets, as sent; ``status`` is 0 if no answer was sent.

    ``target`` is path and query.
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
    is_read: bool = False


_MOST_OBSERVED = 2 * MAX_SIZE_BYTES
Observer: TypeAlias = Callable[[ObservedExchange], None]


def with_observer(app: ASGIApp, observe: Observer) -> ASGIApp:
    """Wrap an app: ``observe`` gets each exchange when it is over, except those of the control plane."""

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        if not is_of_api(scope):
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
            exchange.is_read = not message.get("more_body", False)
            return message

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                while not exchange.is_read and len(exchange.body) <= _MOST_OBSERVED:  # then it would be lost
                    await hear()
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
