"""A proxy before a sound server that charges for runs as it likes, and keeps a ledger of its own."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

PRICE: Final = 8.0
"""Of the only workflow that the profiles of these tests name."""
_RUN: Final = re.compile(r"/api/(?:workflows|models)/[^/]+/run(?:\?.*)?")
_FIRST_ROW: Final = 1_000_000
_CODES: Final = {400: "INVALID_INPUTS", 402: "INSUFFICIENT_CREDITS", 404: "NOT_FOUND", 409: "CONFLICT"}
_ROW: Final[Mapping[str, Any]] = {
    "userId": "u",
    "workflowSlug": "pia-portrait",
    "modelIds": [],
    "status": "failed",
    "source": "api-workflow",
    "cost": 0.1,
    "userCost": 0.1,
    "durationMs": 1,
    "errorCode": "ODD",
    "requestId": "r",
    "createdAt": "2026-06-01T00:00:00.000Z",
}
Body = Mapping[str, Any] | bytes | None


@dataclass(frozen=True, kw_only=True)
class Charging:
    """How a server charges for runs.

    Attributes:
        status: What it answers to a run; None for what the sound server answers.
        body: What it answers; a function of the sound server's body.
        of: Which runs those that the sound server charges (``accepted``), or ``refused`` ones.
        charge: What each of these costs, in credits.
        after: How many runs it answers soundly before it begins.
        is_shown: Whether usage tells.
        is_dropped: It charges, and closes the connection.
    """

    status: int | None = None
    body: Callable[[Any], Body] = lambda body: body
    of: str = "accepted"
    charge: float = PRICE
    after: int = 0
    is_shown: bool = True
    is_dropped: bool = False


def refusal(status: int, **more: Any) -> Callable[[Any], Body]:
    """A refusal in the documented form."""
    code = {429: "RATE_LIMIT_EXCEEDED", 403: "CAPABILITY_DENIED", 401: "UNAUTHORIZED"}.get(status, "")
    return lambda _: {"error": "No", "code": code or _CODES.get(status, "ODD"), **more}


def told(cost: str) -> Callable[[Any], Body]:
    """A success whose members about cost are written as given."""
    return lambda _: f'{{"success": true, "result": {{}}, {cost}, "ms": 1}}'.encode()


def _refusing(status: int, **options: Any) -> Charging:
    return Charging(status=status, body=refusal(status), **options)


CHARGINGS: Final[Mapping[str, Charging]] = {
    **{
        f"{status} to every run, {'shown' if is_shown else 'hidden'}": _refusing(status, is_shown=is_shown)
        for is_shown in (False, True)
        for status in (400, 402, 404, 409, 429)
    },
    **{f"{status} to every run": _refusing(status) for status in (401, 403, 422, 500, 503)},
    **{f"{status} after three runs": _refusing(status, after=3) for status in (400, 402, 429)},
    "charges what it refuses": Charging(of="refused"),
    "charges twice what it refuses": Charging(of="refused", charge=2 * PRICE),
    "charges what it refuses after ten runs": Charging(of="refused", after=10),
    "400 and cost 0": Charging(status=400, body=refusal(400, cost=0), is_shown=False),
    "400 and cost null": Charging(status=400, body=refusal(400, cost=None), is_shown=False),
    "400 and success": Charging(status=400, body=refusal(400, success=True), is_shown=False),
    "400 without a body": Charging(status=400, body=lambda _: b"", is_shown=False),
    "400 in HTML": Charging(status=400, body=lambda _: b"<h1>No</h1>", is_shown=False),
    "a redirect": Charging(status=302, body=lambda _: b"", is_shown=False),
    "no answer": Charging(is_dropped=True, is_shown=False),
    "cost 0": Charging(status=200, body=told('"cost": 0'), is_shown=False),
    "cost -0.0": Charging(status=200, body=told('"cost": -0.0'), is_shown=False),
    "cost twice, the last 0": Charging(status=200, body=told('"cost": 8, "cost": 0'), is_shown=False),
    "cost twice, the last little": Charging(status=200, body=told('"cost": 8, "cost": 0.01'), is_shown=False),
    "cost twice, once escaped": Charging(
        status=200, body=told('"cost": 8, "c\\u006fst": 0.01'), is_shown=False
    ),
    "cost in words": Charging(status=200, body=told('"cost": "0"'), is_shown=False),
    "cost true": Charging(status=200, body=told('"cost": true'), is_shown=False),
    "cost below zero": Charging(status=200, body=told('"cost": -8'), is_shown=False),
    "cost NaN": Charging(status=200, body=told('"cost": NaN'), is_shown=False),
    "cost beyond doubles": Charging(status=200, body=told('"cost": 1e999'), is_shown=False),
    "cost null": Charging(status=200, body=told('"cost": null'), is_shown=False),
    "cost elsewhere": Charging(status=200, body=told('"Cost": 0'), is_shown=False),
    "no cost": Charging(status=200, body=lambda _: {"success": True}, is_shown=False),
    "success false": Charging(status=200, body=lambda _: {"success": False, "cost": 0}, is_shown=False),
    "a list": Charging(status=200, body=lambda _: b"[]", is_shown=False),
    "202 and cost 0": Charging(
        status=202,
        body=lambda _: {"_async": True, "executionId": "e", "cost": 0},
        is_shown=False,
    ),
    "tells a part": Charging(status=200, body=told('"cost": 1')),
    "tells the price and charges twice": Charging(status=200, body=told('"cost": 8'), charge=2 * PRICE),
    "tells more than the price": Charging(
        status=200, body=told('"cost": 24'), charge=3 * PRICE, is_shown=False
    ),
}
"""By what is unsound about it; none lies both in its answers, in a way that a sound one may, and in usage."""


@dataclass
class Ledger:
    """What a server has charged.

    Attributes:
        base_url: Where the server is.
        charges: One for each run that it charged, in order.
        runs: How many runs it was sent.
    """

    base_url: str = ""
    charges: list[float] = field(default_factory=list)
    runs: int = 0
    _rows: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def credits(self) -> float:
        """Of all runs."""
        return sum(self.charges)

    def is_due(self, charging: Charging, status: int, sound_cost: float) -> bool:
        """Whether a run that the sound server answers like this is answered and charged unsoundly."""
        is_meant = sound_cost > 0 if charging.of == "accepted" else status >= 400 and status != 401
        with self._lock:
            self.runs += is_meant
            return is_meant and self.runs > charging.after

    def charge(self, amount: float, key: str, *, known: float) -> None:
        """Write a charge down; what the sound server's usage does not know of it gets a row of its own."""
        with self._lock:
            self.charges.append(amount)
            if amount > known:
                self._rows[key].append(amount - known)

    def with_rows(self, body: Any, key: str) -> Any:
        """A page of usage, with what else was charged."""
        with self._lock:
            rows = [
                {**_ROW, "id": _FIRST_ROW + place, "creditsCost": amount}
                for place, amount in enumerate(self._rows[key])
            ]
        return {**body, "rows": [*reversed(rows), *body["rows"]], "total": body["total"] + len(rows)}


@contextmanager
def charging_server(base_url: str, charging: Charging) -> Iterator[Ledger]:
    """Stand before a sound server, and charge for runs; what the sound one charges counts as well."""
    upstream, ledger = urlsplit(base_url), Ledger()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def handle_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            to_server = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            to_server.request(self.command, self.path, sent or None, headers)
            answer = to_server.getresponse()
            content: Any = answer.read()
            to_server.close()
            status, key = answer.status, self.headers.get("x-api-key") or ""
            if _RUN.fullmatch(self.path):
                sound_cost = _cost_of(content) if status < 300 else 0.0
                if ledger.is_due(charging, status, sound_cost):
                    ledger.charge(charging.charge, key, known=sound_cost)
                    if charging.is_dropped:
                        self.close_connection = True
                        return
                    body = charging.body(content)
                    content = body if isinstance(body, bytes) else json.dumps(body).encode()
                    status = charging.status or status
                elif sound_cost:
                    ledger.charge(sound_cost, key, known=sound_cost)
            elif self.path.startswith("/api/usage?") and status == 200:
                page = json.loads(content)
                shown = ledger.with_rows(page, key) if charging.is_shown else {**page, "rows": []}
                content = json.dumps(shown).encode()
            self.send_response(status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ledger.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _cost_of(content: bytes) -> float:
    body = json.loads(content)
    return float(body.get("cost") or 0.0) if isinstance(body, dict) else 0.0
