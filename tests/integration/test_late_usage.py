"""Charges that only usage shows: late ones, and those of runs without an answer."""

import json
import time
from dataclasses import replace
from functools import partial

import checking
import pytest
from clocks import wait_until
from example_targets import PORTRAIT, PRO, SmallProfile
from raw_server import proxying

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.runs.record import read_run
from knouds_harness.runs.unsettled import UNSETTLED_FILE
from knouds_harness.targets.builtin import open_target
from knouds_sandbox.serving import running_sandbox

LATE_S = 2.0
SETTLE_S = 4.0
OVERCHARGED = 1_000


@pytest.mark.slow
def test_overcharges_that_show_late_are_told(tmp_path, sandbox):
    """The headline says that usage is not settled, and ``cleanup`` what came."""
    knouds = partial(checking.knouds, cwd=tmp_path)
    last_run_s = [time.monotonic()]

    def answer(relayed, asked):
        answered = asked()
        if "/run" in relayed.target:
            last_run_s[0] = time.monotonic()
        if relayed.target.startswith("/api/usage?") and time.monotonic() - last_run_s[0] > LATE_S:
            page = json.loads(answered.content)
            for row in page["rows"]:
                row["creditsCost"] = row["creditsCost"] and OVERCHARGED
            answered = answered.__class__(**{**vars(answered), "content": json.dumps(page).encode()})
        return answered.in_bytes()

    limits = f'credits = 100\nsettle_s = {SETTLE_S}\nallow = ["read", "run"]'
    small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits=limits)
    small.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)
    with proxying(sandbox.base_url, answer) as server:
        path = small.written(base_url=server.base_url)
        checked = knouds("check", "--fact", "run.cost-is-credits", "--target", path)
        (folder,) = (tmp_path / "reports/runs").iterdir()
        assert "Usage is not settled yet" in checked.stdout
        assert "at most" not in checked.stdout
        counted = read_run(folder).counts.cost_credits
        settles_at = time.monotonic() + SETTLE_S
        wait_until(lambda: time.monotonic() > settles_at, timeout_s=2 * SETTLE_S)
        cleaned = knouds("cleanup", folder, "--target", path)

    runs = counted / 8
    shown = f"charged {runs * OVERCHARGED:,.0f} credits (usage), not {counted:g} as counted when it ended"
    assert f"{shown}; the limit was 100" in cleaned.stdout
    assert cleaned.returncode == ExitCode.GUARD
    assert not (folder / UNSETTLED_FILE).exists()
    assert read_run(folder).counts.cost_credits == runs * OVERCHARGED


@pytest.mark.slow
def test_load_whose_charges_show_late_says_so(tmp_path, sandbox):
    """Usage shows none at the end: the headline says that it is not settled, ``cleanup`` what came then."""
    knouds = partial(checking.knouds, cwd=tmp_path)
    are_shown = [False]

    def answer(relayed, asked):
        answered = asked()
        if relayed.target.startswith("/api/usage?") and not are_shown[0]:
            page = json.dumps({**json.loads(answered.content), "rows": [], "total": 0})
            answered = replace(answered, content=page.encode())
        return answered.in_bytes()

    limits = f'credits = 1_000\nsettle_s = {SETTLE_S}\nallow = ["read", "run"]'
    small = SmallProfile(folder=tmp_path, sandbox=sandbox, limits=limits)
    small.key("otto", PRO, user="otto", tier="pro").resource(PORTRAIT.replace("pia", "otto"))
    with proxying(sandbox.base_url, answer) as server:
        path = small.written(base_url=server.base_url)
        load = ("load", "sync_runs", "--rate", "5", "--users", "2", "--duration", "1s", "--yes")
        loaded = knouds(*load, "--target", path)
        (folder,) = (tmp_path / "reports/runs").iterdir()
        load_record = read_run(folder).load
        assert load_record is not None
        cost_credits = load_record.results.cost_credits
        early = knouds("cleanup", folder, "--target", path)
        are_shown[0] = True
        settles_at = time.monotonic() + SETTLE_S
        wait_until(lambda: time.monotonic() > settles_at, timeout_s=2 * SETTLE_S)
        cleaned = knouds("cleanup", folder, "--target", path)

    headline = next(line for line in loaded.stdout.splitlines() if " requests, " in line)
    assert headline.endswith("Usage is not settled yet.")
    assert f"0 credits so far (usage, not settled yet), {cost_credits:,.10g} by the answers" in loaded.stdout
    assert "usage is not settled yet" in early.stdout
    assert f"charged {cost_credits:,.10g} credits (usage)" in cleaned.stdout
    assert cleaned.returncode == ExitCode.KEPT
    assert "cleanup" not in read_run(folder).note


@pytest.mark.parametrize("wire", ["drop", "reset", "cut"])
def test_lost_runs_are_charged_as_usage_shows(wire, tmp_path, monkeypatch):
    """Two lost runs, and a refused one, which counts as charged as nobody has seen the refusal."""
    with running_sandbox(prefer=True) as sandbox:
        small = SmallProfile(folder=tmp_path, sandbox=sandbox).key("pro", PRO, user="pia", tier="pro")
        profile = small.resource(PORTRAIT).written()
        with open_target(profile) as target, Client(target=target, reads_usage=True) as client:

            def lost(body: bytes, preferred: str) -> str | None:
                return client.send(
                    Request(
                        method="POST",
                        path="/api/workflows/pia-portrait/run",
                        persona="pro",
                        headers=(("content-type", "application/json"), ("prefer", preferred)),
                        body=body,
                        cost_credits=8,
                    )
                ).failure

            failures = [lost(b'{"inputs": {}}', f"wire={wire}") for _ in range(2)]
            failures.append(lost(b'{"inputs": []}', f"wire={wire}"))
            shown = client.note_charges()

    assert None not in failures
    assert shown.credits == 2 * 8
    assert client.guard.budget.spent_credits == 3 * 8
