"""A small, complete and honest server of the API, in front of which a lie can be put.

It was written from the README and ``docs`` alone, and shares nothing with the document or the sandbox. Each
lie (``integration/server_lies.py``) is called between a request and the honest response, like a middleware.
"""

import copy
import json
import re
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from raw_server import RawServer, serving

KEYS: Final = {
    "full": "knouds_live_Zk3vQm8sT1yRb6NwXe4LcPf9HdJa2Gu7",
    "reader": "knouds_live_b5Wq2KxYt8ZnVr4DsEj7MgCf1Ap9LhUo",
}
"""Both belong to one account; the second may only read workflows."""
PRICE: Final = 6.0
MINE: Final = ("portrait", "clip", "notes", "precious")
"""The user's own workflows; no profile names ``precious``, and ``notes`` is free."""
_DELAY_S: Final = 0.3
"""How long an asynchronous run takes."""
_LIMIT: Final = 1000
_USER: Final = {
    "id": "usr_1",
    "email": "pia@example.com",
    "role": "user",
    "tier": "business",
    "approved": True,
}
_PRICING: Final = {"tiers": [{"id": "business"}], "models": [{"id": "nano-banana-2", "credits": 6}]}
_ENDED: Final = ("completed", "failed", "cancelled")


@dataclass
class Request:
    """A request; ``name`` is the slug, model or execution in its path."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes
    operation: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        return self.headers.get("x-api-key", "")

    @property
    def is_known(self) -> bool:
        return self.key in KEYS.values()

    @property
    def body(self) -> Any:
        """The JSON that was sent, or ``...`` if it is invalid."""
        try:
            return json.loads(self.content, parse_constant=_refused)
        except ValueError:
            return ...

    def query(self, name: str) -> str | None:
        return parse_qs(self.target.partition("?")[2]).get(name, [None])[0]


@dataclass
class Answer:
    """A response: JSON, or bytes instead; ``raw`` replaces all of it, and ends the connection."""

    body: Any = None
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    reason: str = "Said"
    content_type: str = "application/json"
    raw: bytes | None = None

    @property
    def is_object(self) -> bool:
        return isinstance(self.body, dict)

    @property
    def is_success(self) -> bool:
        """Return whether it says that the request was carried out."""
        return self.raw is None and self.status < 300

    def written(self) -> bytes:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        content = b"" if self.status in (204, 304) else content
        lines = [("Content-Type", self.content_type), ("Content-Length", str(len(content))), *self.headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return f"HTTP/1.1 {self.status} {self.reason}\r\n{head}\r\n".encode() + content


def refusal(status: int, code: str, *, wait_s: int = 1, **more: Any) -> Answer:
    """Make a refusal in the documented form; a 429 says when to try again."""
    wait = {"retryAfter": wait_s, "tier": "business", "limit": _LIMIT} if status == 429 else {}
    headers = [("Retry-After", str(wait_s))] if status == 429 else []
    return Answer({"error": f"Refused: {code}.", "code": code, **wait, **more}, status, headers)


Honest = Callable[..., Answer]
"""Returns the response to the request, or to another one, without this lie."""
Lie = Callable[["LyingServer", Request, Honest], Answer]


def honestly(_: object, __: Request, honest: Honest) -> Answer:
    return honest()


@dataclass
class LyingServer:
    """A server with one account and two keys, and what tests have to know of it.

    Attributes:
        charges: The ledger: what each run really cost, in credits.
        heard: Every request as bytes.
        memory: State of the lies.
    """

    lie: Lie = honestly
    base_url: str = ""
    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    charges: list[float] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    _runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _ends: dict[str, tuple[float, str]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for slug in MINE:
            model = [] if slug == "notes" else [_node("g", "generator", model="nano-banana-2")]
            fields = [{"name": "prompt", "type": "text", "default": "a lighthouse"}]
            nodes = [_node("in", "requestInput", fields=fields), *model, _node("out", "responseOutput")]
            self.workflows[slug] = _document(slug, name=slug.title(), nodes=nodes)
        self.originals = copy.deepcopy(self.workflows)

    def left(self) -> dict[str, str]:
        return {slug: each["name"] for slug, each in self.workflows.items() if slug not in MINE}

    def charge(self, amount: float) -> None:
        """Charge an amount; usage shows it."""
        self.charges.append(amount)
        self.rows.append(self.row("portrait", amount))

    def charge_more(self, amount: float, row: dict[str, Any] | None = None) -> None:
        """Charge credits for a run that has a row (the last one by default), which shows them."""
        self.charges.append(amount)
        (row or self.rows[-1])["creditsCost"] += amount

    def moved(self, slug: str, to: str) -> str:
        """Give a workflow another slug, and return it."""
        self.workflows[to] = self.workflows.pop(slug) | {"slug": to}
        return to

    def row(self, slug: str | None, amount: float, status: str = "completed") -> dict[str, Any]:
        made = {"id": len(self.rows) + 1, "userId": _USER["id"], "workflowSlug": slug, "status": status}
        of_it = {"modelIds": ["nano-banana-2"] if amount else [], "source": "api-workflow"}
        costs = {"cost": amount / 100, "userCost": amount / 80, "creditsCost": amount, "durationMs": 3}
        more = {"errorCode": None, "requestId": f"req_{uuid.uuid4().hex[:12]}", "createdAt": _now()}
        return made | of_it | costs | more

    def answer(self, request: Request) -> Answer:
        return self.lie(self, request, lambda other=None: self._honest(other or request))

    def speak(self, server: RawServer, connection: socket.socket) -> None:
        while data := server.read_request(connection):
            with self._lock:
                answer = self.answer(request_of(data))
            connection.sendall(answer.written() if answer.raw is None else answer.raw)
            if answer.raw is not None:
                return

    def _honest(self, request: Request) -> Answer:
        _, need, handle = _BY_OPERATION.get(request.operation, ("", "", None))
        workflow = self.workflows.get(request.name)
        if need == "public":
            is_there = not request.name or (workflow and workflow["publicPlayground"])
            return handle(self, request) if handle and is_there else refusal(404, "NOT_FOUND")
        if not request.is_known:
            return refusal(401, "UNAUTHORIZED")
        if need == "model:run" or (request.key == KEYS["reader"] and need not in ("", "workflow:read")):
            return refusal(403, "CAPABILITY_DENIED", required=[need])
        if need == "workflow:run" and not re.fullmatch(r"[a-z0-9-]+", request.name):
            return refusal(400, "INVALID_SLUG")
        if handle is None or (request.name and need.startswith("workflow:") and workflow is None):
            return refusal(404, "NOT_FOUND")
        return handle(self, request)

    def list_all(self, _: Request) -> Answer:
        more = {"isTemplate": False, "hidden": False, "archived": False}
        without = ("nodes", "edges", "viewport", "publicPlayground")
        return Answer(
            [
                {name: value for name, value in each.items() if name not in without}
                | {**more, "estimatedCreditCost": _price(each) or None}
                for each in self.workflows.values()
            ]
        )

    def get(self, request: Request) -> Answer:
        return Answer(copy.deepcopy(self.workflows[request.name]))

    def schema(self, request: Request) -> Answer:
        workflow = self.workflows[request.name]
        inputs = [each["data"].get("fields") for each in workflow["nodes"] if each["type"] == "requestInput"]
        fields = inputs[0] if inputs and isinstance(inputs[0], list) else []
        values = {each["name"]: each.get("default") for each in fields if isinstance(each, dict)}
        about = {"name": workflow["name"], "description": workflow["description"]}
        is_public = request.operation == "getPublicWorkflowSchema"
        cost = {} if is_public else {"estimatedCreditCost": _price(workflow) or None}
        return Answer({"fields": copy.deepcopy(fields), **about, "values": values, **cost})

    def create(self, request: Request) -> Answer:
        body = request.body
        if body is ... or not isinstance(body, dict) or "name" not in body or not _is_document(body):
            return refusal(400, "INVALID_BODY" if body is ... else "INVALID_DOCUMENT")
        stem = re.sub(r"[^a-z0-9]+", "-", body["name"].lower()).strip("-") or "workflow"
        slugs = (stem, *(f"{stem}-{number}" for number in range(2, 999)))
        slug = next(each for each in slugs if each not in self.workflows)
        self.workflows[slug] = _document(slug, **{name: body[name] for name in _DOCUMENT if name in body})
        return Answer(copy.deepcopy(self.workflows[slug]), 201)

    def change(self, request: Request) -> Answer:
        body, is_move = request.body, request.operation == "moveWorkflow"
        if not isinstance(body, dict) or not _is_document(body) or (is_move and "folderId" not in body):
            return refusal(400, "INVALID_BODY" if body is ... else "INVALID_DOCUMENT")
        changed = {name: body[name] for name in (("folderId",) if is_move else _DOCUMENT) if name in body}
        self.workflows[request.name].update(changed, updatedAt=_now())
        return Answer({"success": True}) if is_move else self.get(request)

    def delete(self, request: Request) -> Answer:
        del self.workflows[request.name]
        return Answer({"success": True})

    def run(self, request: Request) -> Answer:
        self.seen["in window"] += 1
        reset = int(time.time() // 60) * 60 + 60
        remaining = max(_LIMIT - self.seen["in window"], 0)
        limits = {"Limit": _LIMIT, "Remaining": remaining, "Reset": reset}
        answer = self._admitted(request)
        answer.headers += [(f"X-RateLimit-{name}", str(value)) for name, value in limits.items()]
        return answer

    def _admitted(self, request: Request) -> Answer:
        body = request.body
        if not isinstance(body, dict) or not isinstance(body.get("inputs"), dict):
            return refusal(400, "INVALID_BODY" if body is ... else "INVALID_INPUTS")
        price = _price(self.workflows[request.name])
        if price:
            self.charges.append(price)
        self.rows.append(row := self.row(request.name, price))
        prompt = body["inputs"].get("prompt", "a lighthouse")
        result = {"images": ["https://files.example.com/1.png"]} if price else {"text": str(prompt)}
        if request.query("async") != "true":
            return Answer({"success": True, "result": result, "cost": price, "ms": 3})
        row.update(status="processing", durationMs=None)
        id_ = str(uuid.uuid4())
        self._runs[id_] = {"executionId": id_, "status": "processing", "row": row, "result": result}
        self._ends[id_] = (time.monotonic() + _DELAY_S, "completed")
        submitted = {"_async": True, "executionId": id_, "requestId": row["requestId"]}
        more = {"pollUrl": f"/api/executions/{id_}", "webhookDelivery": {"configured": False}}
        return Answer({**submitted, "status": "processing", "workflowSlug": request.name, **more}, 202)

    def execution(self, request: Request) -> Answer:
        self._settle()
        run = self._runs.get(request.name)
        if run is None:
            return refusal(404, "NOT_FOUND")
        if request.operation == "cancelExecution":
            if run["status"] in _ENDED:
                return refusal(409, "EXECUTION_ENDED")
            run["status"] = "cancel_requested"
            self._ends[request.name] = (time.monotonic() + _DELAY_S, "cancelled")
        shown = ("executionId", "status", *(["result"] if run["status"] == "completed" else []))
        is_cancel = request.operation == "cancelExecution"
        return Answer({name: copy.deepcopy(run[name]) for name in shown}, 202 if is_cancel else 200)

    def _settle(self) -> None:
        """End the runs that are due."""
        for id_, (at, status) in self._ends.items():
            if time.monotonic() >= at and self._runs[id_]["status"] not in _ENDED:
                self._runs[id_]["status"] = status
                self._runs[id_]["row"].update(status=status, durationMs=int(_DELAY_S * 1000))

    def usage(self, request: Request) -> Answer:
        self._settle()
        if request.operation == "listUsageModels":
            return Answer({"models": sorted({model for row in self.rows for model in row["modelIds"]})})
        status, slug, model = (request.query(name) for name in ("status", "workflowSlug", "modelId"))
        rows = [
            row
            for row in reversed(self.rows)
            if (status not in (*_ENDED, "processing") or row["status"] == status)
            and (not slug or row["workflowSlug"] == slug)
            and (not model or model in row["modelIds"])
        ]
        size = min(max(_whole(request.query("limit"), 50), 1), 500)
        offset = max(_whole(request.query("offset"), 0), 0)
        page = {"page": offset // size + 1, "pageSize": size, "total": len(rows)}
        return Answer({"rows": copy.deepcopy(rows[offset : offset + size]), **page})


def _refused(constant: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(constant)


def _node(id_: str, type_: str, **data: Any) -> dict[str, Any]:
    return {"id": id_, "type": type_, "position": {"x": 0, "y": 0}, "data": data}


def _document(slug: str, **given: Any) -> dict[str, Any]:
    made = {"slug": slug, "createdBy": _USER["id"], "updatedAt": _now()}
    return {**copy.deepcopy(_DOCUMENT), **given, **made}


def _price(workflow: dict[str, Any]) -> float:
    return PRICE * sum(bool(each["type"] == "generator") for each in workflow["nodes"])


def _is_document(body: dict[str, Any]) -> bool:
    """Return whether each documented member has a valid type, and the name is not empty."""
    kinds_hold = all(
        isinstance(body[name], type(default) if default is not None else (str, type(None)))
        for name, default in _DOCUMENT.items()
        if name in body
    )
    nodes_hold = kinds_hold and all(
        isinstance(each, dict) and {"id", "type", "position", "data"} <= each.keys()
        for each in body.get("nodes", ())
    )
    return nodes_hold and (0 < len(body.get("name", "x").strip()) <= 200)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text) else default


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


_DOCUMENT: Final[dict[str, Any]] = {
    "name": "",
    "description": "",
    "tags": [],
    "nodes": [],
    "edges": [],
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "publicPlayground": False,
    "folderId": None,
}
Handler = Callable[[LyingServer, Request], Answer]
_ROUTES: Final[dict[str, tuple[str, str, Handler]]] = {
    "GET /api/health": ("getHealth", "public", lambda *_: Answer({"status": "ok"})),
    "GET /api/pricing/public": ("getPublicPricing", "public", lambda *_: Answer(copy.deepcopy(_PRICING))),
    "GET /api/workflows/*/public-schema": ("getPublicWorkflowSchema", "public", LyingServer.schema),
    "GET /api/whoami": ("getWhoami", "", lambda *_: Answer({"user": dict(_USER)})),
    "GET /api/usage": ("listUsage", "", LyingServer.usage),
    "GET /api/usage/models": ("listUsageModels", "", LyingServer.usage),
    "GET /api/workflows": ("listWorkflows", "workflow:read", LyingServer.list_all),
    "GET /api/workflows/*": ("getWorkflow", "workflow:read", LyingServer.get),
    "GET /api/workflows/*/schema": ("getWorkflowSchema", "workflow:read", LyingServer.schema),
    "POST /api/workflows": ("createWorkflow", "workflow:write", LyingServer.create),
    "PUT /api/workflows/*": ("updateWorkflow", "workflow:write", LyingServer.change),
    "PUT /api/workflows/*/move": ("moveWorkflow", "workflow:write", LyingServer.change),
    "DELETE /api/workflows/*": ("deleteWorkflow", "workflow:write", LyingServer.delete),
    "POST /api/workflows/*/run": ("runWorkflow", "workflow:run", LyingServer.run),
    "POST /api/models/*/run": ("runModel", "model:run", LyingServer.run),
    "GET /api/executions/*": ("getExecution", "execution:read", LyingServer.execution),
    "POST /api/executions/*/cancel": ("cancelExecution", "execution:cancel", LyingServer.execution),
}
_BY_OPERATION: Final = {route[0]: route for route in _ROUTES.values()}


def request_of(data: bytes) -> Request:
    head, _, content = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return routed(Request(method, target, headers, content), target.partition("?")[0])


def routed(request: Request, path: str) -> Request:
    """Return the same request for another path."""
    parts = [unquote(each) for each in path.split("/")]
    is_named = parts[2:3] in (["workflows"], ["models"], ["executions"]) and len(parts) > 3
    shape = "/".join([*parts[:3], "*", *parts[4:]]) if is_named else path
    operation, *_ = _ROUTES.get(f"{request.method} {shape}", ("", "", None))
    return replace(request, operation=operation, name=parts[3] if is_named else "")


@contextmanager
def lying_server(lie: Lie = honestly) -> Iterator[LyingServer]:
    lying = LyingServer(lie)
    with serving(lying.speak) as server:
        lying.base_url, lying.heard = server.base_url, server.requests
        yield lying
