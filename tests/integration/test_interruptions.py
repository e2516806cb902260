"""An interrupted command ends, whatever it is doing, and no process or request of it goes on."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from checking import PRINTED_FILE, started
from clocks import wait_until
from example_targets import write_profile

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_sandbox import serving

DEATHS = 60
DEATHS_SEED = "DEATHS_SEED"
"""Environment variable that repeats the random times of a run of these tests."""
ENDS_WITHIN_S = 40.0
KILLING = (signal.SIGQUIT, signal.SIGKILL)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, *KILLING)
READS = ("reads", "--users", "4", "--duration", "10m")
REPEATED = ("--repeat", "2", "--scenario", "reads", "--", "--users", "4", "--duration", "10m")
COMMANDS = {
    "load": lambda profile: ("load", "--target", profile, *READS),
    "load in workers": lambda profile: ("load", "--target", profile, "--processes", "2", *READS),
    "check": lambda profile: ("check", "--target", profile),
    "record": lambda profile: ("record", "--target", profile, "--yes", "--folder", "recordings"),
    "compare": lambda profile: ("compare", "--baseline-target", profile, *REPEATED),
}


@pytest.fixture
def heard(monkeypatch):
    """Times of the requests to a sandbox that is started from now on."""
    heard_s = []
    make_server = serving.make_server

    def counting(app):
        async def count(scope, receive, send):
            heard_s.append(time.monotonic())
            await app(scope, receive, send)

        return count

    monkeypatch.setattr(serving, "make_server", lambda app, *more: make_server(counting(app), *more))
    return heard_s


def family_of(mark):
    """Return the processes that inherited this variable, even if their parents are gone."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            is_running = each.pid != os.getpid() and each.status() != psutil.STATUS_ZOMBIE
            if is_running and each.environ().get("DEATH") == mark:
                found.append(each)
    return found


def has_begun(process):
    """Return whether a command is past its imports, when Python itself answers Ctrl-C with a traceback."""
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(DEATHS))
def test_nothing_goes_on_after_a_kill_at_a_random_time(tmp_path, monkeypatch, heard, number):
    """No process, request or traceback, and the record is readable.

    After SIGPIPE, a command notices the closed output when it prints: Python ignores the signal itself,
    as each connection that a server closes sends it.
    """
    seed = int(os.environ.get(DEATHS_SEED) or random.randrange(2**31))
    chance = random.Random(f"{seed} {number}")
    name, sent = list(COMMANDS)[number % len(COMMANDS)], SIGNALS[number % len(SIGNALS)]
    after_s, is_sending = 6.0 * chance.random(), number >= DEATHS // 2
    instant = f"{after_s:.2f} s after its {'first request' if is_sending else 'start'}"
    sys.stdout.write(f"{DEATHS_SEED}={seed}: {name}, {sent.name} {instant}\n")
    mark = f"{os.getpid()}-{number}"
    with serving.running_sandbox(seed=1) as sandbox:
        limits = 'credits = 20000\nconcurrency = 8\nallow = ["read", "write", "run", "cancel"]'
        arguments = COMMANDS[name](str(write_profile(tmp_path, sandbox, limits=limits)))
        monkeypatch.setenv("DEATH", mark)
        begun = len(heard)
        with started(tmp_path, *arguments) as process:
            monkeypatch.delenv("DEATH")
            try:
                wait_until(lambda: has_begun(process))
                wait_until(lambda: heard[begun:] or not is_sending)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(after_s)
                os.killpg(process.pid, sent)
                if sent is signal.SIGPIPE:
                    assert process.poll() is None
                    os.killpg(process.pid, signal.SIGTERM)
                died_s = time.monotonic()
                process.wait(ENDS_WITHIN_S)
                wait_until(lambda: not family_of(mark), timeout_s=ENDS_WITHIN_S)
            finally:
                left = family_of(mark)
                for each in left:
                    each.kill()
        took_s = time.monotonic() - died_s
        before = len(heard)
        httpx.get(f"{sandbox.base_url}/api/health")
        printed = (tmp_path / PRINTED_FILE).read_text()

        assert left == []
        assert len(heard) == before + 1
        assert "Traceback" not in printed, printed
        for run_file in tmp_path.glob("reports/runs/[!.]*/run.json"):
            assert read_run(run_file.parent).outcome
        # A shell shows the same for a Ctrl-C while Python ends as for one that was handled.
        codes = (-sent,) if sent in KILLING else (ExitCode.INTERRUPTED, -signal.SIGINT)
        assert process.returncode in codes, printed
        sys.stdout.write(f"ended within {took_s:.1f} s of it, after {before - begun} requests\n")
