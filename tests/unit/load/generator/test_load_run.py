"""One load run: from a request to the metrics, and the messages between master and worker."""

import time
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from load_workload import FakeMaster, FakeWorker, Said, options, persona, ran, scenario, target, workload_of
from locust import task
from locust.env import Environment
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING

from knouds_harness.errors import ExitCode, TargetUnreachable, UsageError
from knouds_harness.load import final_reports as messages
from knouds_harness.load.arrivals.arrival_user import ArrivalUser, open_timer
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.metrics import SERVER
from knouds_harness.load.collection.seconds import REPORT_KEY
from knouds_harness.load.distributed import MasterRun, WorkerRun
from knouds_harness.load.generator import leading_run
from knouds_harness.load.generator.leading_run import LeadingRun
from knouds_harness.load.generator.load_run import LoadSetup
from knouds_harness.load.tasks import run_cheapest, who_am_i
from knouds_harness.reporting.load.report import load_report
from knouds_harness.runs.record import read_run

KEY = persona("full", tier="enterprise")
TARGET = target(KEY)
RUN = {"operation": "runModel", "path": "/api/models/m/run", "inputs": {}, "cost_credits": 8, "persona": KEY}


@pytest.fixture
def environment():
    return Environment(user_classes=[scenario(who_am_i)])


def run_in(environment: Environment, *arguments: str, role: Any = LeadingRun) -> Any:
    if role is LeadingRun:
        environment.create_local_runner()
    else:
        {MasterRun: FakeMaster, WorkerRun: FakeWorker}[role](environment)
    setup = LoadSetup(options=options(*arguments), target=TARGET, workload=workload_of(TARGET))
    run = role(environment, setup)
    run.attach()
    return run


def fire(environment: Environment, took_ms: float = 5.0) -> None:
    environment.events.request.fire(
        request_type="GET",
        name="getWhoami",
        response_time=took_ms,
        response_length=2,
        response=Said(elapsed_ms=took_ms),
        exception=None,
        context={},
    )


def test_request_of_a_user_is_counted_in_the_results(environment):
    run = run_in(environment)
    environment.events.test_start.fire(environment=environment)

    fire(environment)
    run.seconds.hand_out(everything=True)

    assert [(each.operation, each.requests) for each in run.results().operations] == [("getWhoami", 1)]


@pytest.mark.parametrize(("own_s", "used_s"), [(60.0, 30.0), (5.0, 5.0)])
def test_users_time_out_as_the_profile_says(environment, own_s, used_s):
    """Or as their class says, if that is less: a silent target does not block them."""
    (user_class,) = environment.user_classes
    user_class.network_timeout = user_class.connection_timeout = own_s

    run_in(environment)
    user_class.host = TARGET.base_url
    user = user_class(environment)

    assert (user.network_timeout, user.connection_timeout) == (used_s, used_s)


@pytest.mark.parametrize("by_s", [-3600, 3600])
def test_changing_the_clock_during_load_changes_no_figure(environment, monkeypatch, by_s):
    """As by an administrator or NTP: no request counts as sent before the start, and time goes on."""
    run = run_in(environment, "--users", "2")
    environment.events.test_start.fire(environment=environment)
    fire(environment)

    before_s = time.time()
    monkeypatch.setattr(time, "time", lambda: before_s + by_s)
    fire(environment)
    run.seconds.hand_out(everything=True)

    results = run.results()
    assert [each.requests for each in results.operations] == [2]
    assert 0 < results.operations[0].requests / results.operations[0].per_s < 60


def test_closed_model_begins_with_the_test(environment):
    run = run_in(environment, "--users", "2")

    environment.events.test_start.fire(environment=environment)

    assert run.results().begun_unix_s == pytest.approx(time.time(), abs=60)


def test_open_model_begins_at_a_whole_second_after_spawning(environment):
    run = run_in(environment, "--rate", "10", "--duration", "10m")
    environment.events.test_start.fire(environment=environment)
    assert run.results().begun_unix_s is None

    environment.events.spawning_complete.fire(user_count=2)
    begun_unix_s = run.results().begun_unix_s
    environment.events.spawning_complete.fire(user_count=2)

    assert begun_unix_s == int(begun_unix_s or 0.5)
    assert run.results().begun_unix_s == begun_unix_s
    run.arrivals.stop()


def test_users_have_their_run(environment):
    run = run_in(environment, "--rate", "10")
    (user_class,) = environment.user_classes

    user_class.host = TARGET.base_url
    user = user_class(environment)

    assert (user.load_run, user.arrivals, user.chance) == (run, run.arrivals, run.chance)


def test_time_reported_by_the_server_is_recorded(environment):
    run = run_in(environment)

    run.observe("runWorkflow", ran(), sender=KEY)

    (second,) = run.seconds.recorder.take(with_current=True)
    assert [series.measure for series in second.histograms] == [SERVER]


def test_stop_ends_the_arrivals_and_the_shape_waits(environment):
    """Requests in flight are finished; a second stop must not cut that short."""
    run = run_in(environment, "--rate", "10", "--duration", "10m")
    environment.events.test_start.fire(environment=environment)
    run.shape.runner = environment.runner
    run.stop("Enough.", ExitCode.GUARD)

    environment.events.test_stopping.fire(environment=environment)

    assert run.arrivals.are_over
    assert environment.runner is not None
    assert run.shape.tick() == environment.runner.shape_last_tick


def test_run_concludes_when_locust_quits(environment):
    run = run_in(environment)
    environment.events.test_start.fire(environment=environment)
    fire(environment)

    environment.events.quitting.fire(environment=environment)

    assert environment.process_exit_code == ExitCode.INTERRUPTED
    assert run.results().operations[0].requests == 1


def test_worker_report_has_all_parts(environment):
    """All are in the one message that Locust sends every three seconds."""
    run_in(environment, role=WorkerRun)
    environment.events.test_start.fire(environment=environment)
    fire(environment)
    report: dict[str, Any] = {}

    environment.events.report_to_master.fire(client_id="a", data=report)

    assert {
        messages.HEALTH,
        messages.SAMPLES,
        messages.OBSERVATIONS,
        messages.SENT_AT,
        REPORT_KEY,
    } <= report.keys()


def test_master_counts_what_workers_report(environment):
    there = Environment(user_classes=environment.user_classes)
    run_in(there, role=WorkerRun)
    run = run_in(environment, role=MasterRun)
    environment.events.test_start.fire(environment=environment)
    fire(there)
    report: dict[str, Any] = {}
    there.events.report_to_master.fire(client_id="a", data=report)

    environment.events.worker_report.fire(client_id="a", data=report)
    run.seconds.hand_out(everything=True)

    results = run.results()
    assert [each.requests for each in results.operations] == [1]
    assert results.plan.workers == 1


def test_several_processes_poll_instead_of_receiving_deliveries(environment):
    environment.user_classes = [scenario(who_am_i, run_cheapest)]
    run = run_in(environment, "--finish", "webhook", role=MasterRun)

    assert run.webhook_waiter is None
    assert "Completion was detected by polling" in run.results().note


def test_failure_to_receive_deliveries_leaves_no_record(environment, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise TargetUnreachable("nobody answers")

    monkeypatch.setattr(leading_run, "open_webhook_waiter", fail)
    environment.user_classes = [scenario(who_am_i, run_cheapest)]

    with pytest.raises(TargetUnreachable):
        run_in(environment, "--finish", "webhook", "--record", str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_deliveries_need_a_target():
    environment = Environment()
    environment.create_local_runner()

    with pytest.raises(UsageError, match="--target"):
        LeadingRun(environment, LoadSetup(options=options("--finish", "webhook")))


def test_worker_serves_the_arrivals_of_its_share_alone(environment):
    """An arrival without an idle user is dropped."""
    run = run_in(environment, "--rate", "20", "--duration", "1s")

    run.take_share(time.time(), Share(index=1, workers=2))

    with gevent.Timeout(10):
        while not run.arrivals.are_over:
            gevent.sleep(0.01)
    assert run.health().dropped == 10
    assert run.arrivals.timer


def test_closed_model_has_no_arrivals(environment):
    run = run_in(environment, "--users", "2")

    run.take_share(time.time(), Share())

    assert run.arrivals is None
    assert (run.health().handed, run.health().in_flight) == (0, 0)


def test_task_of_an_arrival_is_in_flight(environment):
    """From its due time until it has ended; users that Locust stops meanwhile do not count."""
    gate = Event()

    class Waiting(ArrivalUser):
        host = "http://127.0.0.1:9"

        @task
        def wait(self):
            gate.wait()

    run = run_in(environment, "--rate", "1", role=WorkerRun)
    run.attach()
    environment.runner.user_count = 3
    serving = gevent.spawn(Waiting(environment).serve_one)
    gevent.sleep(0)
    before = run.health().in_flight
    with open_timer() as timer:
        run.arrivals.hand_over([time.perf_counter()], timer=timer)
    gevent.sleep(0)
    meanwhile = run.health().in_flight
    gate.set()
    serving.join()

    assert (before, meanwhile, run.health().in_flight) == (0, 1, 0)


def test_worker_has_no_credits_of_its_own(environment):
    """The profile allows a thousand."""
    assert run_in(Environment()).limits.budget.left_credits == 1_000

    assert run_in(environment, role=WorkerRun).limits.budget.left_credits == 0


def test_report_gives_the_most_that_runs_can_have_cost(environment, monkeypatch, tmp_path):
    """The cost of a 5xx and of a killed user's run is unknown: each counts at its price, 8 credits."""
    run = run_in(environment, "--users", "1", "--record", str(tmp_path))
    (user_class,) = environment.user_classes
    user_class.host = TARGET.base_url
    user = user_class(environment)
    failed = {"error": "The model failed.", "code": "EXECUTION_FAILED"}
    never = Event()
    answers = iter([ran(cost=8), Said(failed, status=500)])
    monkeypatch.setattr(user, "call", lambda *_, **__: next(answers, None) or never.wait())

    for _ in range(2):
        user.send_run(SimpleNamespace(**RUN))
    killed = gevent.spawn(user.send_run, SimpleNamespace(**RUN))
    gevent.sleep(0)
    killed.kill()
    run.conclude()

    (folder,) = tmp_path.iterdir()
    record = read_run(folder)
    assert record.load is not None
    report = load_report(record, record.load)
    assert "at most 24 credits" in str(report.about)
    assert ("24", "credits at most", "", "note") in report.tiles


def test_user_can_be_stopped_twice(environment):
    """Locust takes the second stop for an impossible state."""
    run_in(environment, "--users", "1")
    (user_class,) = environment.user_classes
    user_class.host = TARGET.base_url
    user = user_class(environment)
    user._state = LOCUST_STATE_RUNNING  # noqa: SLF001 - as when its first task begins

    assert [user.stop(), user.stop()] == [False, False]


def test_run_without_a_target_has_no_limits():
    environment = Environment()
    environment.create_local_runner()
    run = LeadingRun(environment, LoadSetup(options=options()))

    assert run.health().spent_credits == 0
    with pytest.raises(UsageError, match="--target"):
        run.limits  # noqa: B018 - it raises


def test_failing_on_start_ends_the_run(environment):
    run = run_in(environment, "--users", "1")
    (user_class,) = environment.user_classes
    user_class.host = TARGET.base_url
    with pytest.raises(ValueError, match="x") as caught:
        int("x")

    with pytest.raises(StopUser):
        environment.events.user_error.fire(
            user_instance=user_class(environment), exception=caught.value, tb=caught.tb
        )

    assert run.results().note == "Ended early: on_start raised exceptions and never completed."
