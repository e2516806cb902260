"""A process that sends, and the one that leads: from a request to the results."""

import json
import logging
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import msgpack
import pytest
from clocks import wait_until
from gevent.event import Event
from load_workload import FakeMaster, FakeWorker, Said, options, persona, ran, scenario, target, workload_of
from locust import TaskSet, User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING, DefaultTaskSet

from knouds_harness.errors import ExitCode
from knouds_harness.load import messages
from knouds_harness.load.arrivals.arrival_user import ArrivalUser
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.metrics import SERVER
from knouds_harness.load.collection.rows import RequestRecorder, RequestRow
from knouds_harness.load.collection.seconds import ROWS, now_unix_s
from knouds_harness.load.generator import generating_run
from knouds_harness.load.generator.generating_run import GeneratingRun, core_of, place_of
from knouds_harness.load.leader.leading_run import LeadingRun
from knouds_harness.load.tasks import who_am_i
from knouds_harness.load.workload.preflight import LoadSetup
from knouds_harness.reporting.load.report import load_report
from knouds_harness.runs.record import read_run

KEY = persona("full", tier="enterprise")
TARGET = target(KEY)
RUN = {"operation": "runModel", "path": "/api/models/m/run", "inputs": {}, "cost_credits": 8, "persona": KEY}


@pytest.fixture(autouse=True)
def collector(monkeypatch):
    """The garbage of the test process is its own matter."""
    noted = SimpleNamespace(collect=lambda: None, freeze=lambda: None, set_threshold=lambda *_: None)
    monkeypatch.setattr(generating_run, "gc", noted)


@pytest.fixture
def here() -> Environment:
    return Environment(user_classes=[scenario(who_am_i)])


@pytest.fixture
def there() -> Environment:
    return Environment(user_classes=[scenario(who_am_i)])


def setup_of(*arguments: str) -> LoadSetup:
    return LoadSetup(options=options(*arguments), target=TARGET, workload=workload_of(TARGET))


def leading(environment: Environment, *arguments: str) -> LeadingRun:
    FakeMaster(environment)
    return LeadingRun(environment, setup_of(*arguments))


def generating(environment: Environment, *arguments: str) -> GeneratingRun:
    FakeWorker(environment)
    run = GeneratingRun(environment, setup_of(*arguments))
    environment.events.test_start.fire(environment=environment)
    return run


def test_answers_in_flight_at_the_end_may_time_out(here, there):
    """Or those of a server that stands still would be in no status; without a target, ten seconds do."""
    leading(here)
    generating(there)
    aimless = Environment()
    messages.set_stop_timeout(aimless, None)

    assert min(here.stop_timeout, there.stop_timeout) > TARGET.limits.timeout_s
    assert aimless.stop_timeout == 10


def arrivals_of(run: GeneratingRun) -> Any:
    return run.arrivals_of(ArrivalUser)


def hand_over(generating: Any, leading: Any) -> None:
    """Pass on what one process has noted, packed as Locust packs it."""
    runner = generating._environment.runner  # noqa: SLF001 - what Locust would send
    runner.sent.clear()
    generating.seconds.hand_over()
    ((_, data),) = runner.sent
    told = msgpack.loads(msgpack.dumps(data), strict_map_key=False)
    leading._environment.runner.hear(ROWS, "a", **told)  # noqa: SLF001 - the same


def fire(environment: Environment, took_ms: float = 0.01) -> None:
    """Tell of a request that was due once load had begun, even if that is just now."""
    environment.events.request.fire(
        request_type="GET",
        name="getWhoami",
        response_time=took_ms,
        response_length=2,
        response=Said(elapsed_ms=took_ms),
        exception=None,
        context={},
    )


def user_in(environment: Environment) -> Any:
    (user_class,) = environment.user_classes
    user_class.host = TARGET.base_url
    return user_class(environment)


@pytest.mark.parametrize(("own_s", "used_s"), [(60.0, 30.0), (5.0, 5.0)])
def test_users_time_out_as_the_profile_says(there, own_s, used_s):
    """Or as their class says, if that is less: a silent target does not block them."""
    (user_class,) = there.user_classes
    user_class.network_timeout = user_class.connection_timeout = own_s
    generating(there)

    user = user_in(there)

    assert (user.network_timeout, user.connection_timeout) == (used_s, used_s)


@pytest.mark.parametrize("by_s", [-3600, 3600])
def test_changing_the_clock_during_load_changes_no_figure(here, there, monkeypatch, by_s):
    """As by an administrator or NTP: no request counts as sent before the start, and time goes on."""
    run, sender = leading(here, "--users", "2"), generating(there, "--users", "2")
    here.events.test_start.fire(environment=here)
    fire(there)

    before_s = time.time()
    monkeypatch.setattr(time, "time", lambda: before_s + by_s)
    fire(there)
    hand_over(sender, run)
    run.seconds.hand_out(everything=True)

    results = run.results.so_far()
    assert [(each.operation, each.requests) for each in results.operations] == [("getWhoami", 2)]
    assert results.plan.workers == 1
    assert here.stats.total.num_requests == 2
    assert 0 < results.operations[0].requests / results.operations[0].per_s < 60


def test_open_model_begins_once_soon_after_spawning(here):
    run = leading(here, "--rate", "10", "--duration", "10m")
    here.runner.have("a")
    here.events.test_start.fire(environment=here)
    assert run.results.so_far().begun_unix_s is None

    before_unix_s = now_unix_s()
    here.events.spawning_complete.fire(user_count=2)
    begun_unix_s = run.results.so_far().begun_unix_s
    here.events.spawning_complete.fire(user_count=2)

    assert before_unix_s < (begun_unix_s or 0.0) < now_unix_s() + 1
    assert run.results.so_far().begun_unix_s == begun_unix_s


def test_time_reported_by_the_server_is_recorded(there):
    run = generating(there)

    run.observe("runWorkflow", ran(), sender=KEY)  # type: ignore[arg-type]  # as far as it is used

    (measure,) = run.seconds.recorder.take().measures
    assert measure[:4] == ("runWorkflow", "ok", SERVER, 12)


@pytest.mark.parametrize(
    ("tier", "arguments", "is_copied"),
    [("enterprise", (), False), ("pro", (), True), ("enterprise", ("--verify", "0.1"), True)],
)
def test_each_answer_to_a_run_is_copied_if_it_is_observed(there, tier, arguments, is_copied):
    """For its rate limit, or as the user asks: other runs are a sample, of bounded size."""
    FakeWorker(there)
    own = target(persona(tier=tier))

    run = GeneratingRun(there, LoadSetup(options=options(*arguments), target=own, workload=workload_of(own)))

    assert ("runModel" in run.seconds.recorder.always_copied) is is_copied


def test_users_are_stopped_after_the_last_answer(there, monkeypatch):
    """To stop them keeps the process busy, and answers would be read late."""
    stopped_with: list[int] = []
    run: GeneratingRun
    monkeypatch.setattr(FakeWorker, "stop", lambda _: stopped_with.append(arrivals_of(run).in_flight))
    run = generating(there, "--rate", "10", "--duration", "10m")
    run.take_share(now_unix_s(), Share())
    arrivals = arrivals_of(run)
    arrivals.in_flight = 1
    gevent.spawn_later(0.02, setattr, arrivals, "in_flight", 0)

    there.runner.stop()

    assert (stopped_with, arrivals.are_over) == ([0], True)


def test_shape_waits_for_requests_in_flight(here):
    """A second stop must not cut that short."""
    run = leading(here, "--rate", "10", "--duration", "10m")
    here.events.test_start.fire(environment=here)
    here.runner.shape_last_tick = (1, 1.0)
    run.shape.runner = here.runner
    run.stop("Enough.", ExitCode.GUARD)

    here.events.test_stopping.fire(environment=here)

    assert run.shape.tick() == (1, 1.0)


def test_process_serves_the_arrivals_of_its_share_alone(here, there):
    """An arrival without an idle user is dropped."""
    run, sender = leading(here, "--rate", "20"), generating(there, "--rate", "20", "--duration", "1s")

    sender.take_share(now_unix_s(), Share(index=1, workers=2))

    arrivals = arrivals_of(sender)
    wait_until(lambda: arrivals.are_over, sleep=gevent.sleep)
    hand_over(sender, run)
    assert (run.workers.health().dropped, run.workers.health().timer) == (10, arrivals.timer)


def test_request_that_is_due_just_before_the_measured_time_is_warm_up(here, there):
    """At 20,000 per second too; clocks are not read twice, between which this process may stand still."""
    plan = ("--rate", "20000", "--duration", "10m", "--warm-up", "2")
    run, sender = leading(here, *plan), generating(there, *plan)
    start_unix_s = now_unix_s()
    run.metrics.begin(start_unix_s)
    run.seconds.counter.begin(start_unix_s, run.metrics.measured_from_unix_s)
    sender.take_share(start_unix_s, Share())
    edge_s = arrivals_of(sender)._start_s + 2  # noqa: SLF001 - what requests are due by

    for number in range(-100, 100):
        ended_s = edge_s + number / 20_000 + 1e-3
        row = RequestRow("getWhoami", "GET", "ok", 1.0, 1.0, ended_s, None, None, 0, None, None)
        sender.seconds.recorder._requests.append(row)  # noqa: SLF001 - as if it had been sent then
        hand_over(sender, run)

    parts = run.seconds.counter.take()
    assert sum(each.requests() for each in parts) == 200
    assert sum(each.requests() for each in parts if each.is_measured) == 100


def test_scenarios_with_rates_have_arrivals_of_their_own(here):
    """Each user serves those of its class, and a scenario that is busy drops none of another."""
    reading, running = (
        type(name, (scenario(who_am_i),), {"rate": rate, "host": TARGET.base_url})
        for name, rate in (("Readers", 30.0), ("Runners", 10.0))
    )
    there = Environment(user_classes=[reading, running])
    run, sender = leading(here, "--rate", "40"), generating(there, "--rate", "40", "--duration", "1s")

    sender.take_share(now_unix_s(), Share())

    own: list[Any] = [sender.arrivals_of(each) for each in (reading, running)]
    wait_until(lambda: all(each.are_over for each in own), sleep=gevent.sleep)
    hand_over(sender, run)
    assert [each.due for each in own] == [30, 10]
    assert run.workers.health().due == 40
    assert reading(there).arrivals is own[0]


def test_closed_model_has_no_arrivals(here, there):
    run, sender = leading(here, "--users", "2"), generating(there, "--users", "2")

    sender.take_share(now_unix_s(), Share())
    hand_over(sender, run)

    assert arrivals_of(sender) is None
    assert (run.workers.health().handed, run.workers.health().in_flight) == (0, 0)


def test_task_of_an_arrival_is_in_flight(there):
    """From its due time until it has ended; users that Locust stops meanwhile do not count."""
    gate = Event()

    class Waiting(ArrivalUser):
        host = "http://127.0.0.1:9"

        @task
        def wait(self):
            gate.wait()
            self._state = "stopping"

    run = generating(there, "--rate", "1")
    arrivals = arrivals_of(run)
    serving = gevent.spawn(Waiting(there).serve_one)
    gevent.sleep(0)
    before = arrivals.in_flight
    run.take_share(now_unix_s(), Share())
    wait_until(lambda: arrivals.in_flight, sleep=gevent.sleep)
    meanwhile = arrivals.in_flight
    gate.set()
    serving.join(timeout=5)

    assert (before, meanwhile, arrivals.in_flight) == (0, 1, 0)


def test_process_that_sends_has_no_credits_of_its_own(there):
    """The profile allows a thousand; the leading process grants them."""
    assert generating(there).limits.budget.left_credits == 0


def test_report_gives_the_most_that_runs_can_have_cost(here, there, monkeypatch, tmp_path):
    """The cost of a 5xx and of a killed user's run is unknown: each counts at its price, 8 credits."""
    run = leading(here, "--users", "1", "--record", str(tmp_path))
    sender = generating(there, "--users", "1")
    sender.limits.budget.extend(100)
    user = user_in(there)
    failed = {"error": "The model failed.", "code": "EXECUTION_FAILED"}
    never = Event()
    answers = iter([ran(cost=8), Said(failed, status=500)])
    monkeypatch.setattr(user, "call", lambda *_, **__: next(answers, None) or never.wait())

    for _ in range(2):
        user.send_run(SimpleNamespace(**RUN))
    killed = gevent.spawn(user.send_run, SimpleNamespace(**RUN))
    gevent.sleep(0)
    killed.kill()
    hand_over(sender, run)
    run.conclude()

    (folder,) = tmp_path.iterdir()
    record = read_run(folder)
    assert record.load is not None
    report = load_report(record, record.load)
    assert "at most 24 credits" in str(report.about)
    assert ("24", "credits at most", "", "note") in report.tiles


def test_user_can_be_stopped_twice(there):
    """Locust takes the second stop for an impossible state."""
    generating(there, "--users", "1")
    user = user_in(there)
    user._state = LOCUST_STATE_RUNNING  # noqa: SLF001 - as when its first task begins

    assert [user.stop(), user.stop()] == [False, False]


# Exceptions in tasks


class Mine(User):
    task_at_hand: Any = None


class Nested(TaskSet):
    """A set of tasks within a task."""


def look(_user):
    """A task."""


def look_at_hand() -> Mine:
    user = Mine(Environment())
    user.task_at_hand = look
    return user


def fail(run: GeneratingRun, *, instance: Any, times: int) -> None:
    """Raise exceptions whose messages differ, at one place, in a user or a set of its tasks."""
    for number in range(times):
        with pytest.raises(ValueError, match=str(number)) as caught:
            raise ValueError(number)
        with suppress(StopUser):
            run._on_user_error(user_instance=instance, exception=caught.value, tb=caught.tb)  # noqa: SLF001 - as Locust tells it


@pytest.mark.parametrize(
    ("instance_of", "operation", "ends"),
    [
        (lambda: DefaultTaskSet(look_at_hand()), "task look", True),
        (lambda: Nested(look_at_hand()), "task Nested", False),  # others of its set may complete
        (lambda: Mine(Environment()), "task on_start", True),
    ],
)
def test_task_that_never_completes_ends_the_run(there, instance_of, operation, ends):
    """Once it has failed as often as there are users; its failures at one place are one kind of error."""
    run, instance = generating(there, "--users", "3"), instance_of()
    there.runner.sent.clear()

    fail(run, instance=instance, times=2)
    assert there.runner.sent == []
    fail(run, instance=instance, times=7)

    reasons = [data["reason"] for kind, data, *_ in there.runner.sent if kind == messages.STOP]
    told = f"Ended early: {operation.removeprefix('task ')} raised exceptions and never completed."
    assert reasons == [told] * ends
    ((name, text),) = {each[:2] for each in run.seconds.recorder.take().errors}
    assert name == operation
    assert re.fullmatch(r"ValueError: 0 \(tests/unit/load/generator/test_generating_run\.py:\d+\)", text)


def test_task_that_completed_once_does_not_end_the_run(there):
    run = generating(there, "--users", "2")
    there.runner.sent.clear()
    run.passed.add(look)

    fail(run, instance=DefaultTaskSet(look_at_hand()), times=9)

    assert there.runner.sent == []


def test_user_that_fails_to_start_is_stopped(there):
    """Locust would show the exception for each user."""
    generating(there, "--users", "1")
    with pytest.raises(ValueError, match="x") as caught:
        int("x")

    with pytest.raises(StopUser):
        there.events.user_error.fire(user_instance=user_in(there), exception=caught.value, tb=caught.tb)


def test_tracebacks_logged_by_locust_are_hidden(there, caplog):
    generating(there)
    logger = logging.getLogger("locust.user.task")
    logger.error("%s\n%s", "what", "Traceback …")
    logger.error("something else")

    assert [each.getMessage() for each in caplog.records] == ["something else"]


def test_place_of_a_mistake_is_in_the_code_of_the_user_if_it_has_any():
    """Not where the harness found it: a negative amount is the caller's."""
    with pytest.raises(ValueError, match="hits") as caught:
        RequestRecorder().add("hits", "count", -1)
    with pytest.raises(ValueError, match="Expecting") as outside:
        json.loads("{")

    assert Path(place_of(caught.tb).rpartition(":")[0]).name == Path(__file__).name
    assert outside.tb.tb_next is not None
    assert "json" in place_of(outside.tb.tb_next)


# Between the process that leads and the one that sends


def test_process_that_does_not_hear_its_leader_ends(there, monkeypatch):
    """Its requests would not be counted; its last message ends the run of a leader that still listens."""
    generating(there, "--rate", "10")
    there.runner.sent.clear()
    now_s = now_unix_s()
    monkeypatch.setattr(generating_run, "now_unix_s", lambda: now_s + messages.SILENCE_S + 1)

    wait_until(lambda: there.runner.did, sleep=gevent.sleep)

    (stop,) = (data for kind, data, *_ in there.runner.sent if kind == messages.STOP)
    assert stop["exit_code"] == ExitCode.INVALID_MEASUREMENT
    assert "worker a did not hear the master" in stop["reason"]


def test_process_that_hears_its_leader_continues(there, monkeypatch):
    now_s = now_unix_s()
    generating(there, "--rate", "10")
    monkeypatch.setattr(generating_run, "now_unix_s", lambda: now_s + messages.SILENCE_S - 1)
    there.events.heartbeat_received.fire(client_id="a", timestamp=0.0)
    monkeypatch.setattr(generating_run, "now_unix_s", lambda: now_s + 2 * messages.SILENCE_S - 2)

    gevent.sleep(0)

    assert there.runner.did == []


@pytest.mark.parametrize(
    ("index", "workers", "core"), [(0, 1, 7), (0, 3, 7), (2, 3, 4), (0, 4, None)], ids=str
)
def test_each_process_that_sends_has_a_core_if_one_is_left(monkeypatch, index, workers, core):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 4, 5, 7}, raising=False)

    assert core_of(Share(index=index, workers=workers)) == core


def test_process_is_pinned_only_if_asked(there, monkeypatch):
    pinned = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *to: pinned.append(to), raising=False)

    generating(there).take_share(now_unix_s(), Share())
    assert pinned == []
    generating(there, "--pin").take_share(now_unix_s(), Share())

    assert pinned == [(0, {1})]


def test_running_users_end_their_task_before_locust_stops_the_others(there):
    """Ending a user takes time, by which an answer that comes meanwhile would be read late."""
    states = {}
    sender = generating(there, "--users", "2")
    asking, thinking = (
        SimpleNamespace(_state=state) for state in (LOCUST_STATE_RUNNING, LOCUST_STATE_WAITING)
    )

    def state_of(user):
        return vars(user)["_state"]

    def ask():
        while state_of(asking) == LOCUST_STATE_RUNNING:
            gevent.sleep(0)
        states["while asking"] = [state_of(asking), state_of(thinking)]

    asking.greenlet, thinking.greenlet = gevent.spawn(ask), gevent.spawn(gevent.sleep, 10)
    ended = gevent.spawn(str, asking)  # gevent takes its arguments
    ended.join()
    there.runner.user_greenlets = [ended, *(SimpleNamespace(args=[each]) for each in (asking, thinking))]
    vars(sender)["_stop_users"] = lambda: states.update(then=[asking.greenlet.dead, state_of(thinking)])

    there.runner.stop()

    thinking.greenlet.kill()
    assert states == {"while asking": [LOCUST_STATE_STOPPING] * 2, "then": [True, LOCUST_STATE_WAITING]}
