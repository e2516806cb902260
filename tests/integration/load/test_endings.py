"""However a load run ends, its record is readable, and no process or request of it goes on."""

import re
import signal

import psutil
import pytest
from checking import sampled
from clocks import wait_until
from loading import end_of, started_load

from knouds_harness.errors import ExitCode
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.load_results import LOAD_FILE

LONG = ("--duration", "10m")


def family_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def is_gone(family):
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)


def wait_for_load(runs, process):
    def has_begun():
        assert process.poll() is None, process.communicate()
        files = list(runs.glob("*/seconds.csv"))
        return files and re.search(r"^\d+,", files[0].read_text(), re.MULTILINE)

    wait_until(has_begun)
    return family_of(process)


@pytest.mark.parametrize(
    "number", sampled([signal.SIGINT, signal.SIGTERM], every=2), ids=lambda number: number.name
)
def test_interrupted_run_ends_with_130_and_a_complete_report(runs, number):
    """By Ctrl-C or SIGTERM: figures and reports are there, and no process is left."""
    with started_load(runs, "reads", "--users", "4", *LONG) as process:
        family = wait_for_load(runs, process)
        process.send_signal(number)
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert ended.out.strip().startswith("Interrupted")
    assert "Traceback" not in ended.err
    assert ended.record.outcome is RunOutcome.INTERRUPTED
    assert ended.results.operations
    assert (ended.record.folder / "report.html").is_file()
    assert is_gone(family)


@pytest.mark.nightly
def test_second_interruption_ends_at_once_with_a_report(runs, profile):
    with in_two_processes(runs, profile) as process:
        family = wait_for_load(runs, process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert ended.record.outcome is RunOutcome.INTERRUPTED
    assert (ended.record.folder / "report.html").is_file()
    wait_until(lambda: is_gone(family), timeout_s=5)


@pytest.mark.nightly
def test_killed_run_controller_leaves_a_readable_record(runs):
    with started_load(runs, "reads", "--users", "4", "--processes", "2", *LONG) as process:
        family = wait_for_load(runs, process)
        (master,) = (
            each
            for each in psutil.Process(process.pid).children()
            if any("locust" in word for word in each.cmdline())
        )
        master.kill()
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert "killed by SIGKILL" in ended.err
    assert ended.record.outcome is RunOutcome.INTERRUPTED
    assert (ended.record.folder / LOAD_FILE).is_file()
    assert ended.record.load
    wait_until(lambda: is_gone(family), timeout_s=10)


def test_command_killed_at_its_start_leaves_no_process(runs, profile):
    """Its generator notices, though it looks for the first time after that."""
    with started_load(runs, "reads", "--target", profile, "--users", "4", *LONG) as process:
        wait_until(lambda: family_of(process))
        family = family_of(process)
        process.kill()
        process.communicate()
        wait_until(lambda: is_gone(family), timeout_s=20)

    assert not list(runs.glob("*/seconds.csv"))


def workers_of(process):
    return [
        worker
        for each in psutil.Process(process.pid).children()
        for worker in each.children()
        if any("locust" in word for word in worker.cmdline())
    ]


def in_two_processes(runs, profile):
    return started_load(runs, "reads", "--target", profile, "--users", "4", "--processes", "2", *LONG)


@pytest.mark.nightly
def test_workers_end_if_the_master_is_killed_while_they_connect(runs, profile):
    with in_two_processes(runs, profile) as process:
        wait_until(lambda: len(workers_of(process)) == 2)
        family = family_of(process)
        workers_of(process)[0].parent().kill()
        ended = end_of(process, runs)
        wait_until(lambda: is_gone(family), timeout_s=10)

    assert ended.exit_code in (ExitCode.INTERRUPTED, ExitCode.USAGE)


@pytest.mark.nightly
def test_worker_lost_before_the_load_ends_the_run(runs, profile):
    with in_two_processes(runs, profile) as process:
        wait_until(lambda: len(workers_of(process)) == 2)
        family = family_of(process)
        workers_of(process)[0].kill()
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INVALID_MEASUREMENT
    assert "Ended early" in ended.out
    wait_until(lambda: is_gone(family), timeout_s=10)


@pytest.mark.nightly
def test_interrupted_worker_ends_in_order(runs, profile):
    with in_two_processes(runs, profile) as process:
        wait_for_load(runs, process)
        workers_of(process)[0].send_signal(signal.SIGINT)
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert "was ended" in ended.record.note
    assert "Traceback" not in ended.err
