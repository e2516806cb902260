"""The leading side of a run makes metrics and a record of seconds, and says why the run ended."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import gevent
import pytest
from clocks import Clock
from load_records import histogram_of
from load_workload import TOLD, FakeMaster, options, second_of
from locust.env import Environment

from knouds_harness.errors import ExitCode, GuardStop, TargetUnreachable, UsageError
from knouds_harness.exchange.usage import ShownCharges
from knouds_harness.load.collection import metrics
from knouds_harness.load.collection.seconds import ROWS, Error, Second, now_unix_s
from knouds_harness.load.leader import leading_run
from knouds_harness.load.leader.leading_run import LeadingRun
from knouds_harness.load.leader.workers import Health
from knouds_harness.load.messages import FinalReports
from knouds_harness.load.workload.limits import LoadLimits
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.runs.operation_load import ALL_OPERATIONS, TASK, RequestStatus
from knouds_harness.runs.record import read_run
from knouds_harness.targets.profile import Target

START_UNIX_S = 1_780_000_000
TARGET = Target(name="staging", base_url="http://127.0.0.1:1")


@pytest.fixture
def environment():
    environment = Environment()
    FakeMaster(environment)
    return environment


@pytest.fixture
def clock(monkeypatch):
    """The time of a load, which stands still unless a test moves it."""
    clock = Clock()
    for module in (leading_run, metrics):
        monkeypatch.setattr(module, "now_unix_s", clock)
    return clock


@pytest.fixture
def leading(environment, tmp_path):
    made: list[LeadingRun] = []

    def make(*arguments: str, begins: bool = False) -> LeadingRun:
        asked = options("--record", str(tmp_path), "--duration", "60", *arguments)
        made.append(LeadingRun(environment, LoadSetup(options=asked, target=TARGET)))
        if begins:
            made[-1].begin(START_UNIX_S)
        return made[-1]

    yield make
    for each in made:
        each.discard()


def second_after(
    at_s: int, *, operation: str = "getWhoami", code: str = "", failed: int = 0, **counts: int
) -> Second:
    second = second_of(START_UNIX_S + at_s, operation=operation, failed=failed, **counts)
    if failed:
        second.errors[Error(operation, RequestStatus.FAILED, 0, code)] = failed
    return second


def record_in(folder: Path) -> Any:
    (found,) = [each.parent for each in folder.rglob("run.json")]
    return read_run(found)


def test_seconds_become_metrics(leading):
    """Whichever process counted them, and however late they arrive."""
    run = leading("--users", "3", begins=True)

    run.add_second(second_after(0, ok=3))
    run.add_second(second_after(1, ok=2, failed=1))
    run.add_second(second_after(0, ok=1))

    results = run.results.so_far()
    assert [(each.operation, each.requests) for each in results.operations] == [("getWhoami", 7)]
    assert results.operations[0].by_status["failed"] == 1
    assert results.begun_unix_s == START_UNIX_S
    assert (results.plan.model, results.plan.users, results.plan.workers) == ("closed", 3, 1)


def test_requests_before_the_load_are_left_out(leading):
    run = leading("--rate", "10")
    run.add_second(second_after(0, ok=3))

    run.begin(START_UNIX_S + 1)

    assert run.results.so_far().operations == ()


def test_first_reason_to_stop_wins(leading, tmp_path):
    run = leading(begins=True)
    run.results.notes.append("Something.")

    run.stop("No credits.", ExitCode.GUARD)
    run.stop("Something else.", ExitCode.BREACH)
    run.conclude()

    assert record_in(tmp_path).note == "No credits.\nSomething."
    assert record_in(tmp_path).exit_code == ExitCode.GUARD


def test_shape_ends_with_the_duration_and_never_before(leading):
    """Locust asks once a second; a run that ended before its time would count as cut short."""
    run = leading("--users", "2", "--duration", "1s")
    assert run.shape.tick() == (2, 1.0)  # users start, whatever is left of the time
    run.begin(now_unix_s())

    with gevent.Timeout(30):
        assert run.shape.tick() is None
    assert run.metrics.elapsed_s >= 1.0


@pytest.mark.parametrize(
    ("second", "exit_code"), [({"ok": 5}, ExitCode.INVALID_MEASUREMENT), ({"failed": 5}, ExitCode.BREACH)]
)
def test_doubt_makes_the_measurement_invalid(leading, environment, second, exit_code):
    """But a breach stays a breach, also in a run that was stopped."""
    run = leading(begins=True)
    run.add_second(second_after(0, **second))

    run.doubt("The run lost a worker.")
    run.stop("Ended early.", None)
    run.conclude()

    assert environment.process_exit_code == exit_code
    assert "The run lost a worker." in run.results.so_far().validity.reasons


def test_run_that_ends_before_its_time_was_interrupted(leading, environment, tmp_path):
    run = leading()

    run.conclude()

    assert environment.process_exit_code == ExitCode.INTERRUPTED
    assert record_in(tmp_path).exit_code == ExitCode.INTERRUPTED


def test_usage_is_read_after_the_last_request(leading, environment, monkeypatch):
    """Deletions can be charged too, and a run over its limit is never green."""
    run, done = leading(), []

    def read_usage(**_: object) -> None:
        done.append("read usage")
        raise GuardStop("usage shows 61 credits")

    def clean_up(**_: object) -> tuple[list[str], list[str]]:
        done.append("cleaned up")
        return [], []

    monkeypatch.setattr(run, "_clean_up", clean_up)
    monkeypatch.setattr(
        "knouds_harness.load.workload.limits.LoadLimits.conclude", lambda *_, **__: read_usage()
    )

    run.conclude()

    assert done == ["cleaned up", "read usage"]
    assert environment.process_exit_code == ExitCode.GUARD


@pytest.mark.parametrize(
    ("runs", "credits_shown", "is_noted"), [(0, 0.0, False), (0, 5.0, True), (3, 0.0, True)]
)
def test_usage_is_told_only_of_a_load_that_ran_something(leading, monkeypatch, runs, credits_shown, is_noted):
    """Or if it shows a charge: a task of the user's own may have run something, and has not."""
    noted, run = list[object](), leading()
    shown = ShownCharges(credits=credits_shown, is_settled=False)
    monkeypatch.setattr(LoadLimits, "conclude", lambda *_, **__: shown)
    monkeypatch.setattr(run.workers, "health", lambda: Health(runs=runs))
    monkeypatch.setattr(leading_run, "note_usage", lambda *_, **noting: noted.append(noting))

    run.conclude()

    assert bool(noted) is is_noted


def test_load_ends_before_its_last_answers_are_awaited(leading, environment, monkeypatch, clock):
    """What is measured is the time in which requests were due, and not until the last one was answered."""
    monkeypatch.setattr(FinalReports, "await_all", lambda _: clock.sleep(3))
    run = leading("--rate", "10")
    run.begin(clock.now_s - 5)
    ended_unix_s = clock.now_s

    environment.events.test_stopping.fire(environment=environment)

    assert run.metrics.elapsed_s == run.results.so_far().lasted_s == 5
    assert run.seconds.counter.ended_unix_s == ended_unix_s


def test_rates_so_far_are_those_of_the_time_that_is_counted(leading, environment, clock):
    """As in the record of a run that is killed: seconds are counted two late, tasks as they are sent."""
    run, start_unix_s = leading("--rate", "100"), clock.now_s - 5 + 0.75
    run.begin(start_unix_s)
    sent = round(100 * run.metrics.elapsed_s)
    told = TOLD | {"arrivals": (sent, sent, 0, 0)}
    environment.runner.hear(ROWS, "a", rows=((), (), ()), epoch_s=0.0, workflows=(), **told)

    for number in range(2):
        second = replace(second_after(0, ok=100), unix_s=int(start_unix_s) + number)
        run.add_second(second)

    results = run.results.so_far()
    assert results.total.per_s == pytest.approx(100)
    assert results.validity.achieved_per_s == pytest.approx(100)


def test_delays_after_the_end_of_the_load_move_no_figure(leading, environment, monkeypatch):
    """As after Ctrl-C: to end users takes a process longer than any request."""
    monkeypatch.setattr(FinalReports, "await_all", lambda _: None)
    run, now_s = leading("--rate", "10"), now_unix_s()
    run.begin(now_s - 5)
    environment.events.test_stopping.fire(environment=environment)

    told = TOLD | {"lags": [(now_s - 4, 0.001), (now_s + 4, 0.05)]}
    environment.runner.hear(ROWS, "a", rows=((), (), ()), epoch_s=0.0, workflows=(), **told)

    assert run.workers.health().loop_lag.counts == histogram_of([1.0]).counts


def test_run_concludes_once(leading, environment):
    run = leading()
    run.conclude()
    environment.process_exit_code = None

    run.conclude()

    assert environment.process_exit_code is None


@pytest.mark.parametrize(
    ("bound", "operation"), [("* error_rate < 0.4", "getWhoami"), ("error_rate < 40%", ALL_OPERATIONS)]
)
def test_missed_bound_ends_the_run(leading, environment, bound, operation):
    """As objectives are written; without an operation it is for all together."""
    run = leading("--abort-on", bound, begins=True)

    for at_s in range(10):
        run.add_second(second_after(at_s, ok=1, failed=1))
    run.conclude()

    assert environment.process_exit_code == ExitCode.BREACH
    says = f"Ended early by --abort-on: {operation} error rate 50.00% over 10 s, at most 40.00%."
    assert run.results.so_far().note == says
    assert run.results.so_far().objectives[0].observed_in_all == 0.5


def test_load_that_is_over_cannot_end_early(leading):
    """Its last answers may come late."""
    run = leading("--abort-on", "error_rate < 40%", begins=True)

    for at_s in range(60, 75):
        run.add_second(second_after(at_s, failed=1))

    assert run.results.so_far().note == ""


def test_exception_of_a_task_is_printed_once(leading, capsys):
    run = leading(begins=True)

    for at_s in range(3):
        run.add_second(second_after(at_s, failed=1, operation=f"{TASK}look", code="KeyError: 'a' (x.py:3)"))

    assert capsys.readouterr().err.count("KeyError") == 1


def test_unreadable_objectives_leave_no_record(leading, tmp_path):
    (tmp_path / "broken.toml").write_text("[")

    with pytest.raises(UsageError):
        leading("--objectives", str(tmp_path / "broken.toml"))

    assert [each.name for each in tmp_path.iterdir()] == ["broken.toml"]


@pytest.mark.parametrize(
    "error", [TargetUnreachable("no answer"), SystemExit(130)], ids=["unreachable", "signal"]
)
def test_run_that_cannot_begin_leaves_no_record(leading, tmp_path, monkeypatch, error):
    monkeypatch.setattr(leading_run, "open_verification", Mock(side_effect=error))

    with pytest.raises(type(error)):
        leading()

    assert list(tmp_path.iterdir()) == []
