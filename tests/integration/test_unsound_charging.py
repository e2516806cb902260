"""Servers that charge unsoundly, and keep a ledger: what they charged stays within the limit."""

from __future__ import annotations

from itertools import product

import pytest
from checking import run_command
from ledger_proxy import CHARGINGS, PRICE, Ledger, charging_server
from sampling import sampled
from small_profiles import PRO, SmallProfile

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import RunRecord, read_run
from knouds_sandbox.serving import running_sandbox

LIMIT = 60
CONCURRENCY = 2
UNRESERVED = 8
"""Runs that nothing is reserved for, which come between two readings of usage."""
PORTRAIT = f'[workflows.pia-portrait]\nowner = "pia"\ncost_credits = {PRICE:g}\ninputs = {{ prompt = "x" }}\n'
COMMANDS = {
    "load": ("load", "sync_runs", "--rate", "20", "--duration", "2s", "--users", f"{CONCURRENCY}", "--yes"),
    "check": (
        "check",
        "--examples",
        "2",
        *(f"--family={each}" for each in ("runs", "envelopes", "validation")),
    ),
}


@pytest.fixture(scope="module")
def sandbox():
    """The sound server, shared, as each case has an account's usage of its own behind it."""
    with running_sandbox() as running:
        yield running


def spent(tmp_path, sandbox, charging, command: str) -> tuple[int, RunRecord, Ledger]:
    """What a command with 60 credits ended with, its record, and what it was charged."""
    with charging_server(sandbox.base_url, charging) as ledger:
        profile = SmallProfile(
            folder=tmp_path,
            sandbox=sandbox,
            limits=f"credits = {LIMIT}\nconcurrency = {CONCURRENCY}\nfill_rate_windows = false\n"
            'allow = ["read", "write", "run", "cancel"]',
        )
        profile.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)
        path = profile.written(base_url=ledger.base_url)
        ended = run_command(tmp_path, *COMMANDS[command], "--runs-folder", "runs", "--target", path)
    folders = list((tmp_path / "runs").iterdir()) if (tmp_path / "runs").exists() else []
    assert len(folders) == 1, ended.printed
    return ended.exit_code, read_run(folders[0]), ledger


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), sampled(list(product(CHARGINGS, COMMANDS)), every=47))
def test_unsound_charging_is_not_overspent(tmp_path, sandbox, name, command):
    """Beyond the limit is at most what was in flight when the first charge that nothing had told showed."""
    charging = CHARGINGS[name]

    exit_code, record, ledger = spent(tmp_path, sandbox, charging, command)

    cost = record.load.results.cost_credits if record.load else record.counts.cost_credits
    in_flight = CONCURRENCY + (UNRESERVED if charging.of == "refused" else 0)
    over = charging.charge * in_flight if charging.is_shown else 0.0
    assert ledger.credits <= LIMIT + max(over, charging.charge - PRICE), ledger.charges
    assert ledger.credits <= cost + charging.charge * in_flight
    assert ledger.charges
    if max(cost, ledger.credits) > LIMIT:
        assert exit_code == ExitCode.GUARD
