"""Servers that charge wrongly, with a ledger: their charges stay within the limit."""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

import pytest
from checking import run_command, sampled
from example_targets import PORTRAIT, PRO, SmallProfile
from raw_server import Answered, Proxied, Relayed, proxying

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import RunRecord, read_run

PRICE: Final = 8.0
"""The price of the only workflow in the profile."""
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
        status: Its status for a run; None for that of the sound server.
        body: Its body, as a function of the sound server's body.
        of: Which runs it charges: ``accepted`` (those that the sound server charges) or ``refused`` ones.
        charge: The cost of each of these, in credits.
        after: How many runs it charges correctly before that.
        is_shown: Whether usage shows the charge.
        is_dropped: Whether it closes the connection after charging.
    """

    status: int | None = None
    body: Callable[[Any], Body] = lambda body: body
    of: str = "accepted"
    charge: float = PRICE
    after: int = 0
    is_shown: bool = True
    is_dropped: bool = False


def refusal(status: int, **more: Any) -> Callable[[Any], Body]:
    code = {429: "RATE_LIMIT_EXCEEDED", 403: "CAPABILITY_DENIED", 401: "UNAUTHORIZED"}.get(status, "")
    return lambda _: {"error": "No", "code": code or _CODES.get(status, "ODD"), **more}


def told(cost: str) -> Callable[[Any], Body]:
    """Make a success with these members about its cost."""
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
        status=202, body=lambda _: {"_async": True, "executionId": "e", "cost": 0}, is_shown=False
    ),
    "tells a part": Charging(status=200, body=told('"cost": 1')),
    "tells the price and charges twice": Charging(status=200, body=told('"cost": 8'), charge=2 * PRICE),
    "tells more than the price": Charging(
        status=200, body=told('"cost": 24'), charge=3 * PRICE, is_shown=False
    ),
}
"""By what is wrong; none both hides charges in usage and has only responses that a sound one may have."""


@dataclass
class Ledger:
    """Charges of a server, one for each run, in order."""

    charges: list[float] = field(default_factory=list)
    runs: int = 0
    _rows: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_due(self, charging: Charging, status: int, sound_cost: float) -> bool:
        """Return whether a run with this sound response is answered and charged wrongly."""
        is_meant = sound_cost > 0 if charging.of == "accepted" else status >= 400 and status != 401
        with self._lock:
            self.runs += is_meant
            return is_meant and self.runs > charging.after

    def charge(self, amount: float, key: str, *, known: float) -> None:
        """Note a charge; one that the sound server's usage does not show gets its own row."""
        with self._lock:
            self.charges.append(amount)
            if amount > known:
                self._rows[key].append(amount - known)

    def with_rows(self, body: Any, key: str) -> Any:
        """Add the other charges to a page of usage."""
        with self._lock:
            rows = [
                {**_ROW, "id": _FIRST_ROW + place, "creditsCost": amount}
                for place, amount in enumerate(self._rows[key])
            ]
        return {**body, "rows": [*reversed(rows), *body["rows"]], "total": body["total"] + len(rows)}


@contextmanager
def charging_server(base_url: str, charging: Charging) -> Iterator[tuple[str, Ledger]]:
    """Stand in front of a sound server, and charge for runs; its own charges count as well."""
    ledger = Ledger()

    def answer(relayed: Relayed, asked: Callable[[], Answered]) -> Proxied:
        answered, key = asked(), relayed.header("x-api-key")
        if _RUN.fullmatch(relayed.target):
            sound_cost = cost_of(answered.content) if answered.status < 300 else 0.0
            if ledger.is_due(charging, answered.status, sound_cost):
                ledger.charge(charging.charge, key, known=sound_cost)
                if charging.is_dropped:
                    return lambda _: None
                body = charging.body(answered.content)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                answered = replace(answered, status=charging.status or answered.status, content=content)
            elif sound_cost:
                ledger.charge(sound_cost, key, known=sound_cost)
        elif relayed.target.startswith("/api/usage?") and answered.status == 200:
            page = json.loads(answered.content)
            shown = ledger.with_rows(page, key) if charging.is_shown else {**page, "rows": []}
            answered = replace(answered, content=json.dumps(shown).encode())
        return answered.in_bytes()

    with proxying(base_url, answer) as server:
        yield server.base_url, ledger


def cost_of(content: bytes) -> float:
    body = json.loads(content)
    return float(body.get("cost") or 0.0) if isinstance(body, dict) else 0.0


LIMIT = 60
CONCURRENCY = 2
TIMEOUT_S = 600
"""A check waits up to 265 s for a target that throttles."""
UNRESERVED = 8
"""Runs without a reservation between two readings of usage."""
COMMANDS = {
    "load": ("load", "sync_runs", "--rate", "20", "--duration", "2s", "--users", f"{CONCURRENCY}", "--yes"),
    "check": (
        "check",
        "--examples",
        "2",
        *(f"--family={each}" for each in ("runs", "envelopes", "validation")),
    ),
}


def spent(tmp_path, sandbox, charging, command: str) -> tuple[int, RunRecord, Ledger]:
    """Return exit code and record of a command with 60 credits, and the charges."""
    with charging_server(sandbox.base_url, charging) as (base_url, ledger):
        profile = SmallProfile(
            folder=tmp_path,
            sandbox=sandbox,
            limits=f"credits = {LIMIT}\nconcurrency = {CONCURRENCY}\nfill_rate_windows = false\n"
            'allow = ["read", "write", "run", "cancel"]',
        )
        profile.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)
        path = profile.written(base_url=base_url)
        words = (*COMMANDS[command], "--runs-folder", "runs", "--target", path)
        ended = run_command(tmp_path, *words, timeout_s=TIMEOUT_S)
    folders = list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []
    assert len(folders) == 1, ended.printed
    return ended.exit_code, read_run(folders[0]), ledger


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), sampled(list(product(CHARGINGS, COMMANDS)), every=47))
def test_wrong_charging_is_not_overspent(tmp_path, sandbox, name, command):
    """Only runs in flight can exceed the limit, when the first charge shows that no response stated."""
    charging = CHARGINGS[name]

    exit_code, record, ledger = spent(tmp_path, sandbox, charging, command)

    cost = record.load.results.cost_credits if record.load else record.counts.cost_credits
    in_flight = CONCURRENCY + (UNRESERVED if charging.of == "refused" else 0)
    over = charging.charge * in_flight if charging.is_shown else 0.0
    assert sum(ledger.charges) <= LIMIT + max(over, charging.charge - PRICE), ledger.charges
    assert sum(ledger.charges) <= cost + charging.charge * in_flight
    assert ledger.charges
    if max(cost, sum(ledger.charges)) > LIMIT:
        assert exit_code == ExitCode.GUARD
