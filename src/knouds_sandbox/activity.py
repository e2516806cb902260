"""The page at ``/`` for authors of clients: recent requests and responses, executions and deliveries.

Paths, headers and bodies may be hostile: they are served as JSON, and the page inserts them only as text.
Secrets of keys and webhooks are hidden, and requests to the control plane are not shown.
"""

import json
import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_sandbox.envelopes import answer
from knouds_sandbox.state.accounts import find_key
from knouds_sandbox.state.store import Store
from knouds_sandbox.webhooks import Deliverer

KEPT_REQUESTS = 100
KEPT_BYTES = 4096
_SHOWN_ROWS = 20
_SECRET = re.compile(r"(knouds_live_|whsec_)[A-Za-z0-9_-]*")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_HIDDEN = frozenset({"authorization", "cookie", "proxy-authorization", "x-sandbox-token"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = (files("knouds_sandbox") / "activity.html").read_text(encoding="utf-8")


@dataclass(kw_only=True, slots=True)
class _Part:
    """A request or response: its first line, its headers, and the beginning of its body."""

    line: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0

    def take(self, message: Message) -> None:
        chunk = message.get("body", b"")
        self.size_bytes += len(chunk)
        self.body += chunk[: KEPT_BYTES - len(self.body)]

    def text(self, key: str) -> str:
        names = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self.headers]
        instead = {"x-api-key": f"({key})", **dict.fromkeys(_HIDDEN, "(hidden)")}
        lines = [f"{name}: {instead.get(name) or _safe(value)}" for name, value in names]
        rest_bytes = self.size_bytes - len(self.body)
        rest = [f"… and {rest_bytes} more bytes"] if rest_bytes else []
        body = _safe(self.body.decode("utf-8", "replace"))
        return "\n".join([_safe(self.line), *lines, "", body, *rest])


@dataclass(kw_only=True, slots=True)
class _Exchange:
    number: int
    began_unix_s: float
    duration_ms: float = 0
    request: _Part = field(default_factory=_Part)
    answer: _Part = field(default_factory=_Part)


class Activity:
    """Middleware that keeps the latest exchanges, and serves the page that shows them."""

    def __init__(self, app: ASGIApp, *, store: Store, deliverer: Deliverer) -> None:
        self._app = app
        self._store = store
        self._deliverer = deliverer
        self._exchanges: deque[_Exchange] = deque(maxlen=KEPT_REQUESTS)
        self._count = 0
        self._since = secrets.token_hex(8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page, or pass the request on to the application and keep the exchange."""
        if scope["type"] != "http" or scope["path"].startswith("/__sandbox__/"):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET" and scope["path"] in ("/", "/activity.json"):
            respond = _page() if scope["path"] == "/" else self._activity(scope["query_string"])
            await respond(scope, receive, send)
        else:
            await self._kept(scope, receive, send)

    async def _kept(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"] + (b"?" if scope["query_string"] else b"") + scope["query_string"]
        self._count += 1
        exchange = _Exchange(number=self._count, began_unix_s=time.time())
        exchange.request.line = f"{scope['method']} {target[:KEPT_BYTES].decode('latin-1')}"
        exchange.request.headers = [(name, value[:KEPT_BYTES]) for name, value in scope["headers"]]

        async def hear() -> Message:
            message = await receive()
            exchange.request.take(message)
            return message

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.answer.line = str(message["status"])
                exchange.answer.headers = list(message["headers"])
            exchange.answer.take(message)
            await send(message)

        self._exchanges.append(exchange)
        began_s = time.perf_counter()
        await self._app(scope, hear, tell)
        exchange.duration_ms = (time.perf_counter() - began_s) * 1000

    def _activity(self, query: bytes) -> Response:
        after = parse_qs(query.decode("latin-1")).get("after", ["0"])[0]
        since = int(after) if re.fullmatch("[0-9]{1,15}", after) else 0
        body = {
            "since": self._since,
            "requests": [
                self._request(each) for each in self._exchanges if each.number > since and each.answer.line
            ],
            "executions": [
                {
                    "id": row[0],
                    "what": row[1] or ", ".join(json.loads(row[2])),
                    "status": row[3],
                    "at": _at(row[4]),
                }
                for row in self._store.rows(
                    "SELECT execution_id, workflow_slug, model_ids, status, created_unix_s FROM runs"
                    " WHERE execution_id IS NOT NULL AND key_id IS NOT NULL ORDER BY id DESC LIMIT ?",
                    _SHOWN_ROWS,
                )
            ],
            "deliveries": [self._delivery(row) for row in self._store.rows(_DELIVERIES, _SHOWN_ROWS)],
        }
        return answer(body, headers=_HEADERS)

    def _request(self, exchange: _Exchange) -> dict[str, Any]:
        presented = [value for name, value in exchange.request.headers if name == b"x-api-key"]
        key = find_key(self._store, presented[0].decode("latin-1")) if len(presented) == 1 else None
        who = f"key {key.name}" if key else "unknown key" if presented else "no key"
        return {
            "number": exchange.number,
            "at": _at(exchange.began_unix_s),
            "line": _safe(exchange.request.line),
            "key": who,
            "status": int(exchange.answer.line),
            "ms": round(exchange.duration_ms, 1),
            "request": exchange.request.text(who),
            "answer": exchange.answer.text(who),
        }

    def _delivery(self, row: Any) -> dict[str, Any]:
        number, url, attempts, next_unix_s, execution_id, status = row
        return {
            "execution": execution_id,
            "event": f"execution.{status}",
            "to": _safe(str(httpx.URL(url).copy_with(userinfo=b"", query=None))),
            "attempts": attempts,
            "answer": self._deliverer.answer_by_delivery.get(number, ""),
            "next": _at(next_unix_s) if next_unix_s else "",
        }


_DELIVERIES = """
SELECT deliveries.id, url, attempts, next_unix_s, execution_id, status
FROM deliveries JOIN runs ON runs.id = run_id ORDER BY deliveries.id DESC LIMIT ?
"""


def _page() -> Response:
    nonce = secrets.token_urlsafe(16)
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY.format(nonce)}
    return Response(_PAGE.replace("{nonce}", nonce), 200, headers, "text/html")


def _safe(text: str) -> str:
    """Hide secrets in a text, also those with JSON escapes or percent-encoding."""
    for reading in (text, _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text), unquote(text)):
        if _SECRET.search(reading):
            text = _SECRET.sub(r"\1…", reading)
    return text


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S")
