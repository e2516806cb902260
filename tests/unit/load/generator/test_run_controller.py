"""What leads a run: seconds become figures and a record, and whatever ends it is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from load_workload import options
from locust.env import Environment
from locust.runners import MasterRunner

from knouds_harness.errors import ExitCode, TargetUnreachable, UsageError
from knouds_harness.load.collection.seconds import Error, Second, SeriesKey
from knouds_harness.load.distributed.messages import OBSERVATIONS, SAMPLES
from knouds_harness.load.generator.health import Health
from knouds_harness.load.generator.observers import Observers
from knouds_harness.load.generator.run_controller import RunController
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.load_results import TASK, RequestStatus
from knouds_harness.runs.record import read_run
from knouds_harness.targets.profile import Target

START_UNIX_S = 1_780_000_000
TARGET = Target(name="staging", base_url="http://127.0.0.1:1")


@pytest.fixture
def environment():
    """Locust's, in one process."""
    environment = Environment()
    environment.create_local_runner()
    return environment


@pytest.fixture
def controller_of(environment, tmp_path):
    """Makes one that keeps a record, and closes that in the end."""
    made: list[RunController] = []

    def make(*arguments: str, environment: Any = environment, **parts: Any) -> RunController:
        asked = options("--record", str(tmp_path), "--duration", "60", *arguments)
        parts = {"own_health": Health, "timer": lambda: "", **parts}
        made.append(RunController(environment, asked, TARGET, **parts))
        return made[-1]

    yield make
    for each in made:
        each.flush()
        each.discard()


def second_of(
    at_s: int, *, kept: int = 0, failed: int = 0, operation: str = "getWhoami", code: str = ""
) -> Second:
    """What ended in a second."""
    second = Second(unix_s=START_UNIX_S + at_s)
    for status, count in ((RequestStatus.KEPT, kept), (RequestStatus.FAILED, failed)):
        if count:
            histogram = second.histograms.setdefault(SeriesKey(operation, status), Histogram())
            histogram.record(0.001, count)
    if failed:
        second.errors[Error(operation, RequestStatus.FAILED, 0, code)] = failed
    return second


def record_in(folder: Path) -> Any:
    """The one record."""
    (found,) = [each.parent for each in folder.rglob("run.json")]
    return read_run(found)


def test_seconds_become_figures(controller_of):
    """Whichever process counted them, and however late they come."""
    controller = controller_of("--users", "3")
    controller.begin(START_UNIX_S)

    controller.add_second(second_of(0, kept=3))
    controller.add_second(second_of(1, kept=2, failed=1))
    controller.add_second(second_of(0, kept=1))

    results = controller.results()
    assert [(each.operation, each.requests) for each in results.operations] == [("getWhoami", 7)]
    assert results.operations[0].outcomes["failed"] == 1
    assert results.begun_unix_s == START_UNIX_S
    assert (results.plan.model, results.plan.users, results.plan.workers) == ("closed", 3, 1)


def test_warm_up_is_left_out_of_the_figures(controller_of):
    """It is in the record's seconds only."""
    controller = controller_of("--warm-up", "2")
    controller.begin(START_UNIX_S)

    for at_s in range(3):
        controller.add_second(second_of(at_s, kept=1))

    assert controller.results().operations[0].requests == 1


def test_what_is_sent_before_load_begins_is_left_out(controller_of):
    """Users may send something as they start."""
    controller = controller_of("--rate", "10")
    controller.add_second(second_of(0, kept=3))

    controller.begin(START_UNIX_S + 1)

    assert controller.results().operations == ()


def test_figures_of_a_master_are_its_workers_together(controller_of):
    """It sends nothing itself."""
    environment = Environment()
    runner: Any = object.__new__(MasterRunner)  # without a network
    runner.greenlet = None
    environment.runner = runner
    controller = controller_of(
        "--rate", "10", environment=environment, own_health=lambda: Health(handed=1000)
    )
    controller.begin(START_UNIX_S)

    controller.take_report("a", Health(handed=3, spent_credits=2), {})
    controller.take_report("b", Health(handed=4, dropped=1), {})
    controller.take_report("b", Health(handed=6, dropped=1), {})

    results = controller.results()
    assert (results.validity.arrivals, results.validity.dropped) == (10, 1)
    assert (results.cost_credits, results.plan.workers) == (2, 2)


def test_what_a_worker_observed_and_sampled_is_handed_on(controller_of):
    """To the verification of the whole run, and into the record."""
    received: list[Any] = []
    verification: Any = SimpleNamespace(receive=received.append)
    controller = controller_of(open_observers=lambda: Observers(verification=verification))
    controller.samples.receive = received.append

    controller.take_report("a", Health(), {SAMPLES: ["sample"], OBSERVATIONS: {"runs": []}})

    assert received == [["sample"], {"runs": []}]


def test_first_reason_to_stop_stands(controller_of, tmp_path):
    """With its exit code; and the record begins with it."""
    controller = controller_of()
    controller.begin(START_UNIX_S)
    controller.note("Something.")

    controller.stop("No credits.", ExitCode.GUARD)
    controller.stop("Something else.", ExitCode.BREACH)
    controller.conclude()

    assert record_in(tmp_path).note == "No credits.\nSomething."
    assert record_in(tmp_path).exit_code == ExitCode.GUARD


def test_shape_ends_once_the_run_is_stopped(controller_of):
    """At its next tick."""
    controller = controller_of("--users", "2")
    controller.begin(START_UNIX_S)

    controller.stop("Enough.", ExitCode.GUARD)

    assert controller.shape.tick() is None


def test_run_ends_though_the_clock_stands_still(controller_of, environment, monkeypatch):
    """Locust looks at the shape once a second, by a timer of the system's."""
    controller = controller_of("--users", "2")
    monkeypatch.setattr(controller.shape, "get_run_time", lambda: 0.0)
    controller.begin(now_unix_s())

    ticks = len(list(iter(controller.shape.tick, None)))
    controller.conclude()

    assert ticks >= 60
    assert environment.process_exit_code == ExitCode.INVALID_MEASUREMENT
    assert "stands still" in controller.results().note


def test_doubt_makes_the_measurement_invalid(controller_of, environment):
    """And a run that it stopped ends with what the figures say."""
    controller = controller_of()
    controller.begin(START_UNIX_S)
    controller.add_second(second_of(0, kept=5))

    controller.doubt("The run lost a worker.")
    controller.stop("Ended early.", None)
    controller.conclude()

    assert environment.process_exit_code == ExitCode.INVALID_MEASUREMENT
    assert "The run lost a worker." in controller.results().validity.reasons


def test_what_is_broken_counts_in_a_run_that_was_stopped_without_an_exit_code(controller_of, environment):
    """A lost worker does not hide that everything was refused."""
    controller = controller_of()
    controller.begin(START_UNIX_S)
    controller.add_second(second_of(0, failed=5))

    controller.doubt("The run lost a worker.")
    controller.stop("Ended early.", None)
    controller.conclude()

    assert environment.process_exit_code == ExitCode.BREACH


def test_run_that_ends_before_its_time_was_interrupted(controller_of, environment, tmp_path):
    """Whoever ended it."""
    controller = controller_of()

    controller.conclude()

    assert environment.process_exit_code == ExitCode.INTERRUPTED
    assert record_in(tmp_path).exit_code == ExitCode.INTERRUPTED


def test_run_concludes_once(controller_of, environment):
    """Locust may tell of its end more than once."""
    controller = controller_of()
    controller.conclude()
    environment.process_exit_code = None

    controller.conclude()

    assert environment.process_exit_code is None


def test_missed_bound_ends_the_run(controller_of, environment):
    """Once ten seconds are over."""
    controller = controller_of("--abort-on", "error_rate=0.1")
    controller.begin(START_UNIX_S)

    for at_s in range(10):
        controller.add_second(second_of(at_s, kept=1, failed=1))
    controller.conclude()

    assert environment.process_exit_code == ExitCode.BREACH
    assert "--abort-on allows 0.1" in controller.results().note


def test_exception_of_a_task_is_told_once(controller_of, capsys):
    """However often it comes."""
    controller = controller_of()
    controller.begin(START_UNIX_S)

    for at_s in range(3):
        controller.add_second(
            second_of(at_s, failed=1, operation=f"{TASK}look", code="KeyError: 'a' (x.py:3)")
        )

    assert capsys.readouterr().err.count("KeyError") == 1


def test_objectives_that_cannot_be_read_leave_no_record(controller_of, tmp_path):
    """Nothing has begun."""
    (tmp_path / "broken.toml").write_text("[")

    with pytest.raises(UsageError):
        controller_of("--objectives", str(tmp_path / "broken.toml"))

    assert [each.name for each in tmp_path.iterdir()] == ["broken.toml"]


def test_target_that_does_not_answer_leaves_no_record(controller_of, tmp_path):
    """Nothing was sent."""

    def fail() -> None:
        raise TargetUnreachable("nobody answers")

    with pytest.raises(TargetUnreachable):
        controller_of(open_observers=fail)

    assert list(tmp_path.iterdir()) == []
