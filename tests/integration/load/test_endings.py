"""However a load run ends, its record is readable, and no process or request of it goes on."""

import re
import signal

import psutil
import pytest
from checking import sampled
from clocks import wait_until
from example_targets import write_profile
from loading import end_of, started_load

from knouds_harness.errors import ExitCode
from knouds_harness.runs.findings import RunOutcome

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
    with in_processes(runs, profile, 2) as process:
        family = wait_for_load(runs, process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        ended = end_of(process, runs)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert ended.record.outcome is RunOutcome.INTERRUPTED
    assert (ended.record.folder / "report.html").is_file()
    wait_until(lambda: is_gone(family), timeout_s=5)


def test_command_killed_at_its_start_leaves_no_process(runs, tmp_path, sandbox, listener):
    """Its generator notices, though it looks for the first time after that, or waits for an answer."""
    silent = write_profile(tmp_path, sandbox, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    with started_load(runs, "reads", "--target", str(silent), "--users", "4", *LONG) as process:
        wait_until(lambda: family_of(process))
        family = family_of(process)
        process.kill()
        process.communicate()
        wait_until(lambda: is_gone(family))


def workers_of(process):
    return [
        worker
        for each in psutil.Process(process.pid).children()
        for worker in each.children()
        if any("locust" in word for word in worker.cmdline())
    ]


def in_processes(runs, profile, count):
    many = ("--users", "4", "--processes", str(count))
    return started_load(runs, "reads", "--target", profile, *many, *LONG)


def leader_of(process):
    return workers_of(process)[0].parent()


def last_worker_of(process):
    return workers_of(process)[-1]


MAY_BE = {ExitCode.INTERRUPTED, ExitCode.USAGE}
LOST = {
    "leader": (leader_of, signal.SIGKILL, 2, {ExitCode.INTERRUPTED}, "killed by SIGKILL"),
    "leader at the start": (leader_of, signal.SIGKILL, 2, MAY_BE, ""),
    "worker at the start": (last_worker_of, signal.SIGKILL, 2, {ExitCode.INVALID_MEASUREMENT}, "Ended early"),
    "worker that is told to end": (last_worker_of, signal.SIGINT, 2, {ExitCode.INTERRUPTED}, "was ended"),
    "only worker": (last_worker_of, signal.SIGKILL, 1, {ExitCode.INVALID_MEASUREMENT}, "lost a worker"),
}


@pytest.mark.nightly
@pytest.mark.parametrize("which", LOST)
def test_run_that_loses_a_process_ends_with_a_readable_record(runs, profile, which):
    lost_of, number, processes, exit_codes, says = LOST[which]
    with in_processes(runs, profile, processes) as process:
        if "start" not in which:
            wait_for_load(runs, process)
        wait_until(lambda: len(workers_of(process)) == processes)
        family = family_of(process)
        lost_of(process).send_signal(number)
        ended = end_of(process, runs)
        wait_until(lambda: is_gone(family), timeout_s=10)

    assert ended.exit_code in exit_codes
    assert says in ended.out + ended.err + (ended.found.note if ended.found else "")
    assert "Traceback" not in ended.err
    assert "start" in which or ended.results.plan.scenario == "reads"
