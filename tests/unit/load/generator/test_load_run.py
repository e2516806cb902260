"""One run in one process: a sample's way from a user to the figures, and what master and worker exchange."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from load_workload import Said, options, persona, ran, scenario, target, workload_of
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.errors import ExitCode, TargetUnreachable, UsageError
from knouds_harness.load.collection.seconds import REPORT_KEY
from knouds_harness.load.collection.summary import SERVER
from knouds_harness.load.distributed.messages import HEALTH, OBSERVATIONS, SAMPLES, SENT_AT, SHARE, STOP
from knouds_harness.load.generator import observers
from knouds_harness.load.generator.load_run import LoadRun
from knouds_harness.load.tasks import run_cheapest, who_am_i

KEY = persona("full", tier="enterprise")
TARGET = target(KEY)


class Remote:
    """What a run uses of Locust's runners of several processes, without a network."""

    client_id, worker_index, user_count = "a", 3, 0
    greenlet = shape_greenlet = None

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.clients = SimpleNamespace(ready=[], spawning=[], running=[])
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[str, Any]] = []
        self.is_stopped = False

    def register_message(self, kind: str, listener: Any, **_: bool) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any = None, _worker: str = "") -> None:
        self.sent.append((kind, data))

    def stop(self) -> None:
        self.is_stopped = True

    def quit(self) -> None:
        self.is_stopped = True


# Made so, since their methods have fewer arguments than Locust's.
FakeMaster: Any = type("FakeMaster", (Remote, MasterRunner), {})
FakeWorker: Any = type("FakeWorker", (Remote, WorkerRunner), {})


@pytest.fixture
def environment():
    """With one scenario."""
    return Environment(user_classes=[scenario(who_am_i)])


def run_in(environment: Environment, *arguments: str, runner: Any = None) -> LoadRun:
    """The run of a process: the only one, unless a runner is given."""
    if runner is None:
        environment.create_local_runner()
    else:
        environment.runner = runner(environment)
    return LoadRun(environment, options(*arguments), TARGET, workload=workload_of(TARGET))


def fire(environment: Environment, took_ms: float = 5.0) -> None:
    """A request of a user ended well."""
    environment.events.request.fire(
        request_type="GET",
        name="getWhoami",
        response_time=took_ms,
        response_length=2,
        response=Said(elapsed_ms=took_ms),
        exception=None,
        context={},
    )


def test_request_goes_from_the_user_to_the_figures(environment):
    """Recorded where it was sent, and counted where the run is led."""
    run = run_in(environment)
    environment.events.test_start.fire(environment=environment)

    fire(environment)
    run.recording.hand_out(everything=True)

    assert run.controller is not None
    assert [(each.operation, each.requests) for each in run.controller.results().operations] == [
        ("getWhoami", 1)
    ]


@pytest.mark.parametrize(("own_s", "used_s"), [(60.0, 30.0), (5.0, 5.0)])
def test_users_wait_for_an_answer_as_long_as_the_profile_says(environment, own_s, used_s):
    """Or as long as their class says, where that is less: a silent target does not hold them up."""
    (user_class,) = environment.user_classes
    user_class.network_timeout = user_class.connection_timeout = own_s

    run_in(environment)
    user_class.host = TARGET.base_url
    user = user_class(environment)

    assert (user.network_timeout, user.connection_timeout) == (used_s, used_s)


@pytest.mark.parametrize("by_s", [-3600, 3600])
def test_clock_that_is_set_while_load_goes_changes_no_figure(environment, monkeypatch, by_s):
    """By an administrator or NTP: nothing is left out as being before the start, and time goes on."""
    run = run_in(environment, "--users", "2")
    environment.events.test_start.fire(environment=environment)
    fire(environment)

    before_s = time.time()
    monkeypatch.setattr(time, "time", lambda: before_s + by_s)
    fire(environment)
    run.recording.hand_out(everything=True)

    assert run.controller is not None
    results = run.controller.results()
    assert [each.requests for each in results.operations] == [2]
    assert 0 < results.operations[0].requests / results.operations[0].per_s < 60


def test_closed_model_begins_with_the_test(environment):
    """Its users wait for nobody."""
    run = run_in(environment, "--users", "2")

    environment.events.test_start.fire(environment=environment)

    assert run.controller is not None
    assert run.controller.results().begun_unix_s == pytest.approx(time.time(), abs=60)


def test_open_model_begins_at_a_whole_second_once_all_users_are_there(environment):
    """And only once, however often Locust starts some."""
    run = run_in(environment, "--rate", "10", "--duration", "10m")
    assert run.controller is not None
    environment.events.test_start.fire(environment=environment)
    assert run.controller.results().begun_unix_s is None

    environment.events.spawning_complete.fire(user_count=2)
    begun_unix_s = run.controller.results().begun_unix_s
    environment.events.spawning_complete.fire(user_count=2)

    assert begun_unix_s == int(begun_unix_s or 0.5)
    assert run.controller.results().begun_unix_s == begun_unix_s
    run.load.stop()


def test_users_find_their_run(environment):
    """And the arrivals of their process."""
    run = run_in(environment, "--rate", "10")
    (user_class,) = environment.user_classes

    user_class.host = TARGET.base_url
    user = user_class(environment)

    assert (user.load_run, user.arrivals, user.chance) == (run, run.arrivals, run.chance)


def test_users_have_the_tasks_that_can_be_done(environment):
    """The same for all of a scenario."""
    run = run_in(environment)
    (user_class,) = environment.user_classes

    assert run.tasks_of(user_class).tasks == [who_am_i]
    assert run.tasks_of(user_class) is run.tasks_of(user_class)


def test_time_that_the_server_names_is_recorded(environment):
    """Beside the client's."""
    run = run_in(environment)

    run.observe("runWorkflow", ran(), sender=KEY)  # type: ignore[arg-type]  # as much as is asked of it

    (second,) = run.recording.recorder.take(with_current=True)
    assert [series.measure for series in second.histograms] == [SERVER]


def test_test_that_stops_ends_the_arrivals_and_the_shape_waits(environment):
    """What is in flight is finished; a second end must not cut that short."""
    run = run_in(environment, "--rate", "10", "--duration", "10m")
    assert run.controller is not None
    assert run.load.arrivals is not None
    environment.events.test_start.fire(environment=environment)
    run.controller.shape.runner = environment.runner
    run.controller.stop("Enough.", ExitCode.GUARD)

    environment.events.test_stopping.fire(environment=environment)

    assert run.load.arrivals.are_over
    assert environment.runner is not None
    assert run.controller.shape.tick() == environment.runner.shape_last_tick


def test_run_concludes_as_locust_quits(environment):
    """With everything that was counted."""
    run = run_in(environment)
    environment.events.test_start.fire(environment=environment)
    fire(environment)

    environment.events.quitting.fire(environment=environment)

    assert environment.process_exit_code == ExitCode.INTERRUPTED
    assert run.controller is not None
    assert run.controller.results().operations[0].requests == 1


def test_worker_sends_once_it_has_a_share(environment):
    """Credits it asks for once it needs some."""
    run = run_in(environment, "--rate", "10", "--duration", "10m", runner=FakeWorker)
    worker: Any = environment.runner
    environment.events.test_start.fire(environment=environment)
    assert run.controller is None

    message = SimpleNamespace(data={"start_unix_s": time.time(), "index": 1, "workers": 4})
    worker.listeners[SHARE](msg=message)

    assert run.load.arrivals is not None
    assert run.load.arrivals.start_s == pytest.approx(time.perf_counter(), abs=60)
    assert worker.sent == []
    run.load.stop()


def test_worker_reports_all_that_it_has(environment):
    """In the one message that Locust sends every three seconds."""
    run_in(environment, runner=FakeWorker)
    environment.events.test_start.fire(environment=environment)
    fire(environment)
    report: dict[str, Any] = {}

    environment.events.report_to_master.fire(client_id="a", data=report)

    assert {HEALTH, SAMPLES, OBSERVATIONS, SENT_AT, REPORT_KEY} <= report.keys()


def test_worker_has_the_master_end_the_run(environment):
    """It leads nothing itself."""
    run = run_in(environment, runner=FakeWorker)
    worker: Any = environment.runner

    run.stop("No credits.", ExitCode.GUARD)

    assert worker.sent == [(STOP, {"reason": "No credits.", "exit_code": 4})]


def test_master_counts_what_workers_report(environment):
    """As if it had sent it."""
    there = Environment(user_classes=environment.user_classes)
    run_in(there, runner=FakeWorker)
    run = run_in(environment, runner=FakeMaster)
    fire(there)
    report: dict[str, Any] = {}
    there.events.report_to_master.fire(client_id="a", data=report)

    environment.events.worker_report.fire(client_id="a", data=report)
    run.recording.hand_out(everything=True)

    assert run.controller is not None
    results = run.controller.results()
    assert [each.requests for each in results.operations] == [1]
    assert results.plan.workers == 1


def test_shares_are_the_workers(environment):
    """A master has no arrivals of its own."""
    run = run_in(environment, "--rate", "10", "--duration", "10m", runner=FakeMaster)
    master: Any = environment.runner
    master.clients.running = [SimpleNamespace(id=each) for each in ("a", "b")]
    environment.events.test_start.fire(environment=environment)

    environment.events.spawning_complete.fire(user_count=2)
    gevent.sleep(0)

    assert [data["index"] for kind, data in master.sent if kind == SHARE] == [0, 1]
    assert run.load.arrivals is not None
    assert run.load.arrivals.start_s == 0


def test_deliveries_of_several_processes_are_polled_for(environment):
    """There is no one place for them; the record says so."""
    environment.user_classes = [scenario(who_am_i, run_cheapest)]
    run = run_in(environment, "--finish", "webhook", runner=FakeMaster)

    assert run.webhook_waiter is None
    assert run.controller is not None
    assert "Ends were polled for" in run.controller.results().note


def test_failure_to_receive_deliveries_leaves_no_record(environment, tmp_path, monkeypatch):
    """Nothing was sent."""

    def fail(*_: object, **__: object) -> None:
        raise TargetUnreachable("nobody answers")

    monkeypatch.setattr(observers, "open_webhook_waiter", fail)
    environment.user_classes = [scenario(who_am_i, run_cheapest)]

    with pytest.raises(TargetUnreachable):
        run_in(environment, "--finish", "webhook", "--record", str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_deliveries_need_a_target():
    """Without one there is nobody to deliver."""
    environment = Environment()
    environment.create_local_runner()

    with pytest.raises(UsageError, match="--target"):
        LoadRun(environment, options("--finish", "webhook"), None, workload=None)
