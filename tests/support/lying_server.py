"""The sandbox with one account, and a server that lies in front of it.

A lie (``integration/server_lies.py``) is called between each request and the honest response, as a middleware
is.
"""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from socket import socket
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from example_targets import PRO
from raw_server import RawServer, Relayed, serving

from knouds_harness.contract.document import shipped_document
from knouds_sandbox.app import build_app
from knouds_sandbox.state.accounts import add_account, add_key
from knouds_sandbox.state.run_records import StoredRun, accept_run, end_run, select_runs
from knouds_sandbox.state.store import Store
from knouds_sandbox.state.workflows import (
    StoredWorkflow,
    add_workflow,
    change_workflow,
    find_workflow,
    free_slug,
    new_members,
)

KEYS: Final = {
    "full": "knouds_live_Zk3vQm8sT1yRb6NwXe4LcPf9HdJa2Gu7",
    "reader": "knouds_live_b5Wq2KxYt8ZnVr4DsEj7MgCf1Ap9LhUo",
}
"""Both belong to one account; the second may only read workflows."""
PRICE: Final = 6
MINE: Final = ("portrait", "clip", "notes", "precious")
"""The user's own workflows; no profile names ``precious``, and ``notes`` is free."""
_MODEL: Final = "nano-banana-2"
_ACCOUNT: Final = "usr_1"


class Request(Relayed):
    """A request, and what it asks for."""

    @cached_property
    def _recognised(self) -> tuple[str, str]:
        found = shipped_document().recognise(self.method, self.target.partition("?")[0])
        return (found[0].id, next(iter(found[1].values()), "")) if found else ("", "")

    @property
    def operation(self) -> str:
        return self._recognised[0]

    @property
    def name(self) -> str:
        """The slug, model or execution in its path."""
        return self._recognised[1]

    @property
    def key(self) -> str:
        return {name.lower(): value for name, value in self.headers}.get("x-api-key", "")

    @property
    def is_known(self) -> bool:
        return self.key in KEYS.values()

    @property
    def json(self) -> Any:
        """The JSON that was sent, or ``...`` if it is invalid."""
        try:
            return json.loads(self.body)
        except ValueError:
            return ...

    def to(self, path: str, query: str | None = None) -> Self:
        """Return the same request for another path, which is not encoded, and query."""
        query = self.target.partition("?")[2] if query is None else query
        return replace(self, target=f"{quote(path)}{'?' if query else ''}{query}")


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
    wait = {"retryAfter": wait_s, "tier": "business", "limit": 1000} if status == 429 else {}
    headers = [("Retry-After", str(wait_s))] if status == 429 else []
    return Answer({"error": f"Refused: {code}.", "code": code, **wait, **more}, status, headers)


Honest = Callable[..., Answer]
"""Returns the response to the request, or to another one, without this lie."""
Lie = Callable[["LyingServer", Request, Honest], Answer]


def honestly(_: object, __: Request, honest: Honest) -> Answer:
    return honest()


@dataclass(kw_only=True)
class LyingServer:
    """The server, and what tests have to know of it.

    Attributes:
        ask: Sends a request to the sandbox, as ``httpx.request`` does.
        heard: Every request as bytes.
        hidden: What runs cost that usage does not show, in credits.
        memory: State of the lies.
    """

    lie: Lie
    store: Store
    ask: Callable[..., httpx.Response]
    base_url: str = ""
    heard: list[bytes] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def runs(self) -> list[StoredRun]:
        """The runs that usage shows."""
        return select_runs(self.store, "TRUE ORDER BY id", {})

    @property
    def charges(self) -> list[int]:
        """What each run really cost, in credits."""
        return [*(each.cost_credits for each in self.runs), *self.hidden]

    def mine(self) -> dict[str, StoredWorkflow | None]:
        return {slug: find_workflow(self.store, slug) for slug in MINE}

    def left(self) -> set[str]:
        return {slug for (slug,) in self.store.rows("SELECT slug FROM workflows")} - set(MINE)

    def charge(self, amount: int) -> None:
        """Charge an amount; usage shows it."""
        run = StoredRun(
            request_id=f"req_{uuid.uuid4().hex}",
            account_id=_ACCOUNT,
            key_id=None,
            source="api-workflow",
            workflow_slug="portrait",
            model_ids=(_MODEL,),
            cost_credits=amount,
            outcome={},
        )
        end_run(self.store, accept_run(self.store, run), "completed")

    def charge_more(self, amount: int) -> None:
        """Charge credits for the last run, whose row in usage shows them."""
        self.store.write("UPDATE runs SET credits = credits + ? WHERE id = ?", (amount, self.runs[-1].id))

    def hide_charge(self) -> None:
        """Leave the last run, which was charged, out of usage."""
        self.hidden.append(self.runs[-1].cost_credits)
        self.store.write("DELETE FROM runs WHERE id = ?", (self.runs[-1].id,))

    def move(self, slug: str, to: str) -> str:
        """Give a workflow another slug, and return it."""
        workflow = find_workflow(self.store, slug)
        assert workflow is not None
        to = to if to == slug else free_slug(self.store, to)
        return str(change_workflow(self.store, workflow, {"slug": to})["slug"])

    def honest(self, request: Request) -> Answer:
        sent = [pair for pair in request.headers if pair[0].lower() not in ("host", "content-length")]
        got = self.ask(request.method, request.target, headers=sent, content=request.body)
        headers = [pair for pair in got.headers.items() if not pair[0].startswith("content-")]
        return Answer(got.json() if got.content else b"", got.status_code, headers)

    def speak(self, server: RawServer, connection: socket) -> None:
        while data := server.read_request(connection):
            request = Request.of(data)
            with self._lock:
                answer = self.lie(self, request, lambda other=request: self.honest(other))
            connection.sendall(answer.written() if answer.raw is None else answer.raw)
            if answer.raw is not None:
                return


@contextmanager
def lying_server(lie: Lie = honestly) -> Iterator[LyingServer]:
    app, services = build_app(now_unix_s=time.time)
    _make_account(services.store)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(services.engine.serving()):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        lying = LyingServer(lie=lie, store=services.store, ask=partial(_asked, portal, client))
        with serving(lying.speak) as server:
            lying.base_url, lying.heard = server.base_url, server.requests
            yield lying
    services.store.close()


def _asked(portal: BlockingPortal, client: httpx.AsyncClient, *words: Any, **options: Any) -> httpx.Response:
    return portal.call(partial(client.request, *words, **options))


def _make_account(store: Store) -> None:
    store.clear()
    add_account(store, id=_ACCOUNT, name="pia", tier="business", credits=100_000)
    for name, capabilities in (("full", PRO), ("reader", ("workflow:read",))):
        add_key(
            store,
            name=name,
            secret=KEYS[name],
            account_id=_ACCOUNT,
            capabilities=capabilities,
            state="active",
        )
    fields = [{"name": "prompt", "type": "text", "default": "a lighthouse"}]
    for slug in MINE:
        kinds = {"requestInput": {"fields": fields}, "generator": {"modelId": _MODEL}, "responseOutput": {}}
        if slug == "notes":
            del kinds["generator"]
        nodes = [
            {"id": kind, "type": kind, "position": {"x": 0, "y": 0}, "data": data}
            for kind, data in kinds.items()
        ]
        add_workflow(store, new_members({"name": slug.title(), "nodes": nodes}), slug=slug, owner_id=_ACCOUNT)
