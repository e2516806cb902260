"""Independent tests run concurrently, up to the profile's limit, with the same results as one by one."""

import re
import signal
from contextlib import ExitStack

import httpx
import pytest
from checking import PRINTED_FILE, check, started
from clocks import wait_until
from example_targets import PRO, SmallProfile, write_profile

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.user_state import alone_on
from knouds_harness.targets.profile import load_target
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox

FAULT = "auth-revoked-accepted"
INDEPENDENT = ("--family", "authentication", "--family", "capabilities", "--family", "validation")
OF_THE_BUDGET = ("/api/usage", (("limit", "100"), ("offset", "0")))  # read when runs end, so at any time
OF_EXECUTIONS = {"getExecution", "cancelExecution"}  # their responses depend on timing
GIVEN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|harness-[0-9a-f]{12}(-scratch(-\d+)?)?")
TOKEN = re.compile(rb"Harness [0-9a-f]{12}")


def checked(folder, *, at_once):
    """Return the record of a check of a faulty sandbox with this many requests in flight."""
    folder.mkdir()
    with running_sandbox(seed=1, faults=[FAULT]) as sandbox:
        limits = f'credits = 1000\nconcurrency = {at_once}\nallow = ["read", "write", "run", "cancel"]'
        profile = write_profile(folder, sandbox, limits=limits)
        return check(folder, "--target", str(profile), "--seed", "5", "--quick", *INDEPENDENT)


def requests_of(record):
    """Return what tests sent, without its order; ids and slugs of the target are replaced."""
    return sorted(
        (
            each.request.method,
            GIVEN.sub("given", each.request.path),
            each.request.query,
            TOKEN.sub(b"Harness", each.request.body or b""),
        )
        for each in record.exchange_by_id.values()
        if (each.request.path, each.request.query) != OF_THE_BUDGET
    )


@pytest.mark.nightly
def test_concurrency_changes_neither_requests_nor_verdicts(tmp_path):
    """The same seed sends the same requests to the byte, however many are in flight."""
    one_by_one, side_by_side = (checked(tmp_path / str(at_once), at_once=at_once) for at_once in (1, 6))

    assert len(requests_of(one_by_one)) > 500
    assert requests_of(side_by_side) == requests_of(one_by_one)
    assert verdicts_of(side_by_side) == verdicts_of(one_by_one)
    assert any(each.fact == "auth.revoked-key-is-401" for each in one_by_one.findings)


def verdicts_of(record):
    """Return what a record says of the target, without what shows it, and when."""
    results = [each for each in record.results if each.operation not in OF_EXECUTIONS]
    return [
        sorted(map(str, pieces))
        for pieces in (
            ((each.check, each.operation, each.persona) for each in record.findings),
            ((each.check, each.fact, each.operation, each.passed, each.failed) for each in results),
            ((each.operation, each.persona, each.expected, each.ok) for each in record.cells),
            ((each.check, each.fact, each.operation, each.missing) for each in record.untested),
        )
    ]


def test_interrupted_run_does_not_wait_for_executions(tmp_path):
    """Ctrl-C ends a check at once, even if its executions would take an hour."""
    with running_sandbox(seed=1, latency=Latency(fixed_s=3600.0)) as sandbox:
        profile = write_profile(tmp_path, sandbox)
        command = ["check", "--target", str(profile), "--runs-folder", "runs", "--family", "executions"]
        with started(tmp_path, *command) as process:
            wait_until(lambda: has_run(sandbox), timeout_s=60)
            process.send_signal(signal.SIGINT)
            process.wait(30)

    assert process.returncode == ExitCode.INTERRUPTED


def has_run(sandbox):
    key = {"x-api-key": sandbox.keys["full"]}
    return httpx.get(f"{sandbox.base_url}/api/usage?status=processing", headers=key).json()["total"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--fact", "whoami.user-object"),
        ("load", "reads", "--rate", "5", "--users", "2", "--duration", "1s", "--yes"),
    ],
    ids=["check", "load"],
)
def test_command_waits_for_another_one_on_its_account(tmp_path, sandbox, words):
    """It says so, and goes on when that has ended."""
    small = SmallProfile(folder=tmp_path, sandbox=sandbox).key("pro", PRO, user="pia", tier="pro")
    profile = small.written()
    with ExitStack() as other:
        other.enter_context(alone_on(load_target(profile), pytest.fail))
        with started(tmp_path, *words, "--target", profile) as process:
            printed = tmp_path / PRINTED_FILE
            wait_until(lambda: 'uses account "pia"' in printed.read_text(encoding="utf-8"), timeout_s=60)
            assert process.poll() is None
            other.close()
            # On a busy machine, a load may be no valid measurement.
            assert process.wait(timeout=60) in (ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT)
