"""``load --find-capacity`` on a sandbox whose runs take 50 ms."""

import asyncio
import signal

import pytest
from clocks import wait_until
from example_targets import write_profile
from loading import end_of, load, started_load
from starlette.types import ASGIApp, Receive, Scope, Send

from knouds_harness.errors import ExitCode
from knouds_harness.runs.findings import RunOutcome
from knouds_sandbox import serving
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

pytestmark = pytest.mark.nightly
WITHIN_S = 90
"""A quiet machine needs a third of it for the longest search here."""


@pytest.fixture
def search(tmp_path):
    def arguments(sandbox: serving.RunningSandbox, p50_ms: float, *more: str) -> list[str]:
        profile = write_profile(tmp_path, sandbox)
        objectives = tmp_path / "objectives.toml"
        objectives.write_text(f'[sync_runs."*"]\np50_ms = {p50_ms}\n', encoding="utf-8")
        command = ["sync_runs", "--target", str(profile), "--objectives", str(objectives), "--find-capacity"]
        within = ("--within", f"{WITHIN_S}s")
        return [*command, "--repeats", "2", "--duration", "2s", "--warm-up", "0.5", *within, *more]

    return arguments


def with_one_slot(app: ASGIApp) -> ASGIApp:
    slot = asyncio.Semaphore(1)

    async def take_turns(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/run"):
            await app(scope, receive, send)
            return
        async with slot:
            await app(scope, receive, send)

    return take_turns


def test_capacity_limited_by_the_target_is_found(runs, search, monkeypatch):
    """One run at a time, of 50 ms each: less than 20 per second; the knee is there too."""
    make_server = serving.make_server
    monkeypatch.setattr(serving, "make_server", lambda app, *more: make_server(with_one_slot(app), *more))
    with running_sandbox(latency=Latency(fixed_s=0.05)) as sandbox:
        loaded = load(runs, *search(sandbox, 100, "--rate", "8", "--repeats", "1"))

    capacity = loaded.results.capacity
    assert capacity is not None
    assert capacity.points
    assert "Searches for the highest rate" in loaded.err
    assert f"at most {WITHIN_S} s" in loaded.err
    if capacity.is_generator_limit:
        assert loaded.exit_code == ExitCode.INVALID_MEASUREMENT
        assert "generator was the limit" in " ".join(loaded.out.split())
    if capacity.is_generator_limit or "would not have ended" in capacity.limit:
        pytest.skip("the machine was too busy for a search")
    assert loaded.exit_code == ExitCode.KEPT, loaded.out
    assert capacity.limit == ""
    assert capacity.highest_per_s is not None
    assert capacity.lowest_failing_per_s is not None
    assert 8 <= capacity.highest_per_s <= 22  # a short point may end before the queue has grown
    assert capacity.lowest_failing_per_s <= 1.11 * capacity.highest_per_s
    assert capacity.knee_per_s is not None
    assert 8 <= capacity.knee_per_s <= 22
    assert f"Capacity {capacity.highest_per_s:g}/s" in loaded.out


def test_interrupted_search_keeps_its_points(runs, sandbox, search):
    """Ctrl-C ends the current point, and the report has the earlier ones."""
    with started_load(runs, *search(sandbox, 5000, "--rate", "2", "--up-to", "1000")) as process:
        wait_until(lambda: any('"capacity": {' in each.read_text() for each in runs.glob("*/load.json")))
        process.send_signal(signal.SIGINT)
        ended = end_of(process, runs)

    capacity = ended.results.capacity
    assert ended.exit_code == ExitCode.INTERRUPTED
    assert "Traceback" not in ended.err
    assert ended.record.outcome is RunOutcome.INTERRUPTED
    assert capacity is not None
    assert capacity.limit == "interrupted"
    assert capacity.points
    assert (ended.record.folder / "report.html").is_file()
    assert ended.out
