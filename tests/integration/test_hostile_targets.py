"""Any hostile response leads to a finding, and each command ends in time, in bounds, with a message.

A sample; with ``EVERY_CASE=1`` (``nox -s chaos``) every case meets every command.
"""

import os
import re
import signal
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from checking import FAILING, Ended, knouds, sampled
from example_targets import PRO, SmallProfile, write_profile
from hostile_traffic import BROKEN_HTTP, BROKEN_JSON, HARMLESS, NO_ANSWER, altered
from loading import scenario_of
from raw_server import replacing

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import RunRecord, read_run
from knouds_sandbox.serving import RunningSandbox

BEYOND_BOUNDS: Final = (
    *("100 MB", "an endless body without a length", "endless chunks", "2,000,000 numbers"),
    *("3,000,000 brackets, packed", "1,300,000 objects, packed", "nested 100,000 times"),
    *("gzip bomb", "gzip in gzip", "Brotli bomb"),
)
"""Longer, deeper or of more values than the harness reads, so that nothing is claimed about them."""
CASES: Final = {**BROKEN_JSON, **BROKEN_HTTP, **NO_ANSWER, **HARMLESS}
ENDLESS: Final = {*NO_ANSWER, "endless chunks of two bytes"}
"""Only these end by the time for an answer; others come in time, also from a machine that stands still."""
TIMEOUT_S: Final = 120
MOST_MB: Final = 300
"""A command needs 115 MB if there is no response."""
USERS: Final = 2
OBEYED: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e]|^##(?:vso)?\[|^::", re.MULTILINE
)
"""By a terminal or a CI system."""

TO_RUNS: Final = ("--runs-folder", "runs")
COMMANDS: Final = {
    "check": ("check", "--family", "schemas", "--operation", "listUsage", "--quick", "--seed", "1", *TO_RUNS),
    "record": ("record", "--outcome", "listUsage-*", "--yes", "--folder", "recordings"),
    "doctor": ("doctor",),
    "load": ("--users", str(USERS), "--duration", "1s", "--quiet", *TO_RUNS),
}
BROKEN_EXITS: Final = frozenset({ExitCode.BREACH, ExitCode.UNREACHABLE})
"""A finding, or the end of the run after five requests in a row without a response."""
TELLS_DOCTOR_NOTHING: Final = {"no content type"}
"""Broken, but not in anything that a profile describes."""


def some(cases, *sample):
    """Return the sample, or on request each case with each command."""
    return [*product(cases, COMMANDS)] if os.environ.get("EVERY_CASE") else sample


@pytest.mark.parametrize("families", sampled(["schemas workflows", ""], every=2))
def test_values_of_the_wrong_type_do_not_break_the_harness(tmp_path, sandbox, families):
    """Every check tolerates them; the shapes judge them."""
    attack = altered(Random(1), share=0.3)
    limits = 'credits = 100_000\nconcurrency = 4\nallow = ["read", "write", "run", "cancel"]'
    with replacing(
        sandbox.base_url, lambda path, status: attack if status == 200 and path != "/api/health" else None
    ) as proxy:
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=limits)
        selection = [f"--family={each}" for each in families.split()]
        process = knouds("check", "--target", profile, "--quick", "--seed", "1", *selection, cwd=tmp_path)

    assert process.returncode == ExitCode.BREACH
    assert [line for line in process.stdout.splitlines() if ".py:" in line or "Error:" in line] == []
    assert process.stderr == ""


def run(folder: Path, sandbox: RunningSandbox, base_url: str, command: str, *, within_s: float = 1) -> Ended:
    """Run a command on a target: it ends in time and in bounds, and prints nothing that a terminal obeys."""
    limits = f'credits = 0\nconcurrency = 4\ntimeout_s = {within_s}\nallow = ["read"]'
    small = SmallProfile(folder=folder, sandbox=replace(sandbox, base_url=base_url), limits=limits)
    profile = small.key("full", PRO, user="ada", tier="enterprise").written()
    words = COMMANDS[command]
    if command == "load":
        objectives = folder / "objectives.toml"
        objectives.write_text('[mine."*"]\nerror_rate = 0\n', encoding="utf-8")
        scenario = scenario_of(folder, "    tasks = [list_usage]\n")
        words = ("load", scenario, *words, "--objectives", str(objectives))
    return judged(knouds(*words, "--target", profile, cwd=folder, timeout_s=TIMEOUT_S))


def judged(ended: Ended) -> Ended:
    """Assert what holds however a command ends."""
    assert ended.peak_mb < MOST_MB
    assert OBEYED.findall(ended.printed) == []
    return ended


def report_of(folder: Path) -> RunRecord:
    """Return the record of the only run; its reports can be read, and nothing in them runs."""
    (run_folder,) = folder.iterdir()
    record = read_run(run_folder)
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    ET.parse(run_folder / "junit.xml")  # noqa: S314 - our own
    assert record.gaps == ()
    assert "alert(1)</script>" not in page
    assert "\x1b" not in page
    return record


@pytest.mark.parametrize(
    ("name", "command"),
    some(
        CASES,
        ("escape sequences", "check"),
        ("truncated JSON", "check"),
        ("status 500 in HTML", "check"),
        ("a chunk of 2^64", "check"),
        ("huge integers", "check"),
        ("2,000,000 numbers", "check"),
        ("3,000,000 brackets, packed", "check"),
        ("nested 100,000 times", "record"),
        ("a reset in the body", "record"),
        ("markup", "doctor"),
        ("a charset", "doctor"),
        ("endless chunks of two bytes", "load"),
    ),
)
def test_hostile_response_of_one_operation_fails_each_command(tmp_path, sandbox, name, command):
    """A broken response fails the run, an unusual one does not; the rest of the run is in the report."""
    attack, attacked = CASES[name], "/api/whoami" if command == "doctor" else "/api/usage"
    with replacing(
        sandbox.base_url,
        lambda path, status: attack if status == 200 and path.partition("?")[0] == attacked else None,
    ) as proxy:
        within_s = 1 if name in ENDLESS else 30
        ended = run(tmp_path, sandbox, proxy.base_url, command, within_s=within_s)
        heard = sum(b" /api/usage" in each.partition(b"\r\n")[0] for each in proxy.requests)

    is_sound = name in HARMLESS or (command == "doctor" and name in TELLS_DOCTOR_NOTHING)
    exits = frozenset({ExitCode.KEPT}) if is_sound else BROKEN_EXITS
    exits |= {ExitCode.KEPT, ExitCode.USAGE} if name in BEYOND_BOUNDS else set()  # or nothing was tested
    exits |= {ExitCode.INVALID_MEASUREMENT} if command == "load" else set()  # on a busy machine
    assert ended.returncode in exits, ended.printed
    if command == "check":
        is_sound = name in (*HARMLESS, *BEYOND_BOUNDS)
        (har,) = tmp_path.glob("runs/*/exchanges.har")
        verify = ("verify", str(har), "--runs-folder", "verified")
        verified = judged(knouds(*verify, cwd=tmp_path, timeout_s=TIMEOUT_S))
        assert verified.returncode == (ExitCode.KEPT if is_sound else ExitCode.BREACH)
        for folder in ("runs", "verified"):
            record = report_of(tmp_path / folder)
            assert record.counts.exchanges > 2
            broken = {each.operation for each in record.findings if each.verdict in FAILING}
            assert broken == (set() if is_sound else {"listUsage"})
    if command == "load" and ended.returncode != ExitCode.UNREACHABLE:
        load = report_of(tmp_path / "runs").load
        assert load is not None
        counted = sum(each.requests for each in load.operations)
        assert 0 <= heard - counted <= USERS  # in flight at the end


@pytest.mark.parametrize(
    ("name", "command"), some(NO_ANSWER, ("a reset before the status line", "load"), ("silence", "check"))
)
def test_target_without_a_valid_response_is_unreachable(tmp_path, sandbox, name, command):
    with replacing(sandbox.base_url, lambda *_: CASES[name]) as proxy:
        ended = run(tmp_path, sandbox, proxy.base_url, command)

    assert ended.returncode == ExitCode.UNREACHABLE, ended.printed


@pytest.mark.parametrize(
    ("number", "command"), sampled([*product((signal.SIGKILL, signal.SIGSTOP), ("check", "load"))], every=4)
)
def test_target_that_dies_or_stalls_is_never_green(tmp_path, spawn, number, command):
    """Earlier results are in the report."""
    with spawn() as (process, said, _):
        sandbox = RunningSandbox(base_url=said["base_url"], keys=said["keys"], control_token=None)
        left = iter(range(5 if command == "check" else 15))

        def choose(*_):
            if next(left, None) is None:
                process.send_signal(number)

        with replacing(sandbox.base_url, choose) as proxy:
            ended = run(tmp_path, sandbox, proxy.base_url, command)

    assert ended.returncode in BROKEN_EXITS, ended.printed
    record = report_of(tmp_path / "runs")
    if command == "check":
        assert record.counts.answers["200"] >= 4
        assert record.counts.answers["none"] >= 1
    else:
        assert record.load is not None
        (usage,) = record.load.operations
        assert usage.by_status["ok"] >= 1
        assert usage.by_status["failed"] >= 1
