"""A master and four workers on loopback do together what one process would, and no more."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from checking import only_record
from example_targets import free_port, write_profile
from loading import Loaded
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from knouds_harness.errors import ExitCode
from knouds_harness.locations import scenarios_path
from knouds_sandbox import serving

pytestmark = [pytest.mark.nightly, pytest.mark.slow]
WORKERS = 4
ATTEMPTS = 3
"""A very busy machine loses workers by itself."""
WITHOUT_EFFECT = (400, 403, 404)


@contextmanager
def distributed(*arguments: str, runs: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start a master and its workers with plain Locust, the master first; none outlives the context."""
    port = str(free_port())
    locust = [sys.executable, "-m", "locust", "-f", str(scenarios_path() / "sync_runs.py")]
    as_master = ["--master", "--headless", "--expect-workers", str(WORKERS), "--only-summary"]
    as_master += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--record", str(runs)]
    as_worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    environ = {**os.environ, "KNOUDS_HARNESS_WORKERS_TOKEN": "a token of this test"}
    started: list[subprocess.Popen[bytes]] = []
    try:
        started += (
            subprocess.Popen([*locust, *words], env=environ, **streams)
            for words in ([*as_master, *arguments], *[as_worker] * WORKERS)
        )
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@dataclass
class Counts:
    """When runs and requests of any kind came to a server, and what it charged for all of them."""

    at_s: list[float] = field(default_factory=list)
    cost_credits: float = 0.0
    all_at_s: list[float] = field(default_factory=list)


def counting(app: ASGIApp, counts: Counts) -> ASGIApp:
    """Count the runs that an app receives, but for those without effect, which come before load begins."""

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            counts.all_at_s.append(time.monotonic())
        if scope["type"] != "http" or not scope["path"].endswith("/run"):
            await app(scope, receive, send)
            return
        at_s = time.monotonic()
        counts.at_s.append(at_s)
        body = b""

        async def note(message: Message) -> None:
            nonlocal body
            body += message.get("body", b"")
            if message.get("status") in WITHOUT_EFFECT:
                counts.at_s.remove(at_s)
            await send(message)

        await app(scope, receive, note)
        counts.cost_credits += json.loads(body).get("cost") or 0

    return count


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def sandbox(counts, monkeypatch) -> Iterator[serving.RunningSandbox]:
    make_server = serving.make_server
    monkeypatch.setattr(serving, "make_server", lambda app, *more: make_server(counting(app, counts), *more))
    with serving.running_sandbox() as running:
        yield running


@pytest.fixture
def profile_with(tmp_path, sandbox):
    allow = 'allow = ["read", "write", "run", "cancel"]'
    return lambda limits: str(write_profile(tmp_path, sandbox, limits=f"{allow}\nconcurrency = 50\n{limits}"))


def undisturbed(*plan: str, runs: Path, counts: Counts, arrivals: int | None = None) -> Loaded:
    """Return a run that lost no worker, and served these ``arrivals``."""
    for attempt in range(ATTEMPTS):
        counts.at_s, counts.cost_credits, counts.all_at_s = [], 0.0, []
        folder = runs / str(attempt)
        with distributed(*plan, runs=folder) as processes:
            exit_code, *_ = [each.wait(timeout=240) for each in processes]
        loaded = Loaded(exit_code=exit_code, found=only_record(folder), out="", err="")
        are_served = arrivals is None or loaded.results.validity.arrivals == arrivals
        if are_served and "The run lost a worker" not in loaded.record.note:
            break
    return loaded


def requests_of(loaded: Loaded) -> int:
    return sum(each.requests for each in loaded.results.operations)


def is_counted_once(loaded: Loaded, counts: Counts) -> bool:
    """Return whether the server received exactly the requests sent; of unanswered ones, it may have any.

    On a machine that stalls for seconds, a server closes connections in which requests wait.
    """
    errors = [error for each in loaded.results.operations for error in each.errors]
    unanswered = sum(error.count for error in errors if error.status_code is None)
    requests = requests_of(loaded)
    return requests - unanswered <= len(counts.at_s) <= requests


def test_workers_share_a_schedule_and_counts_match_the_server(runs, profile, counts):
    """All arrivals are sent once, every request is counted once, and credits agree."""
    plan = ("--target", profile, "--rate", "60", "--duration", "4s", "--users", "40")

    loaded = undisturbed(*plan, runs=runs, counts=counts, arrivals=240)

    assert loaded.results.plan.workers == WORKERS
    assert loaded.results.validity.arrivals == 240
    assert requests_of(loaded) + loaded.results.validity.dropped == 240
    assert is_counted_once(loaded, counts)
    assert loaded.results.cost_credits == pytest.approx(counts.cost_credits)


def test_credit_limit_holds_over_all_workers(runs, profile_with, counts):
    """Together they spend the credits, and the run ends with a message."""
    plan = ("--target", profile_with("credits = 700"), "--users", "40", "--duration", "30s")

    loaded = undisturbed(*plan, runs=runs, counts=counts)

    assert loaded.exit_code == ExitCode.GUARD
    assert "credits" in loaded.record.note
    assert 500 < counts.cost_credits <= 700
    assert loaded.results.cost_credits == pytest.approx(counts.cost_credits)


def test_rate_limit_of_the_profile_holds_over_all_workers(runs, profile_with, counts):
    """Requests before the load count too; a stalled server may see some requests late."""
    limits = "credits = 100000\nrequests_per_s = 20"
    plan = ("--target", profile_with(limits), "--users", "40", "--duration", "6s")

    loaded = undisturbed(*plan, runs=runs, counts=counts)

    assert is_counted_once(loaded, counts)
    took_s = counts.at_s[-1] - counts.at_s[0]
    assert 40 < len(counts.at_s) <= 20 * (took_s + 1)
    assert max(sum(start <= each < start + 1 for each in counts.all_at_s) for start in counts.all_at_s) <= 30
