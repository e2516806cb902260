"""A slow worker loses no measurements, and strangers can neither lead a load nor end it."""

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.env import Environment
from locust.exception import RPCReceiveError
from locust.rpc.protocol import Message

from knouds_harness.errors import UsageError
from knouds_harness.load import messages
from knouds_harness.load.messages import (
    ASK_FINAL_REPORT,
    IS_FINAL,
    TOKEN_VARIABLE,
    FinalReporter,
    FinalReports,
    require_proof,
    secure,
)


class Worker:
    client_id = "a"

    def __init__(self) -> None:
        self.environment = Environment()
        self.listeners: dict[str, Any] = {}
        self.did: list[Any] = []

    def register_message(self, kind: str, listener: Any, **_: bool) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any = None) -> None:
        self.did.append((kind, data))

    def stop(self) -> None:
        self.did.append("stop")


class Master:
    def __init__(self, *workers: str) -> None:
        self.environment = Environment()
        running = [SimpleNamespace(id=worker) for worker in workers]
        self.clients = SimpleNamespace(ready=[], spawning=[], running=running)
        self.asked: list[str] = []

    def send_message(self, kind: str, _data: Any, worker: str) -> None:
        assert kind == ASK_FINAL_REPORT
        self.asked.append(worker)

    def report(self, worker: str, *, is_final: bool = True) -> None:
        data = {IS_FINAL: True} if is_final else {}
        self.environment.events.worker_report.fire(client_id=worker, data=data)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def reporter(worker) -> FinalReporter:
    return FinalReporter(worker)


@pytest.fixture
def master() -> Master:
    return Master("a", "b")


@pytest.fixture
def reports(master) -> FinalReports:
    reports = FinalReports(master)
    master.environment.events.test_start.fire(environment=master.environment)
    return reports


def test_no_wait_before_the_test_has_started(master):
    """If a run ends while it starts, Locust no longer listens to its workers."""
    reports = FinalReports(master)
    master.clients.ready = master.clients.running
    for each in ("a", "b"):
        master.report(each, is_final=False)

    reports.await_all()

    assert (master.asked, reports.missing) == ([], frozenset())


def test_final_report_follows_the_last_request(reporter, worker):
    """It includes requests that were in flight, and what event listeners add."""
    worker.environment.events.report_to_master.add_listener(lambda data, **_: data.update(seen=3))

    worker.listeners[ASK_FINAL_REPORT]()

    assert worker.did == ["stop", ("stats", {IS_FINAL: True, "seen": 3})]


def test_final_report_is_sent_once(reporter, worker):
    worker.listeners[ASK_FINAL_REPORT]()
    worker.environment.events.quitting.fire(environment=worker.environment)

    assert len(worker.did) == 2


def test_worker_that_quits_reports_unasked(reporter, worker):
    worker.environment.events.quitting.fire(environment=worker.environment)

    assert worker.did[-1] == ("stats", {IS_FINAL: True})


def test_each_test_has_its_own_final_report(reporter, worker):
    reporter.report()
    worker.environment.events.test_start.fire(environment=worker.environment)

    reporter.report()

    assert worker.did.count(("stats", {IS_FINAL: True})) == 2


def test_master_waits_for_every_worker(reports, master):
    stopping = gevent.spawn(master.environment.events.test_stopping.fire, environment=master.environment)
    gevent.sleep(0)
    master.report("a", is_final=False)
    assert not stopping.ready()

    for each in ("a", "b"):
        assert not stopping.ready()
        master.report(each)

    stopping.join(timeout=5)
    assert stopping.ready()
    assert sorted(master.asked) == ["a", "b"]
    assert reports.missing == frozenset()


def test_second_caller_waits_too(reports, master):
    waiting = [gevent.spawn(reports.await_all) for _ in range(2)]
    gevent.sleep(0)
    assert not any(each.ready() for each in waiting)

    for each in ("a", "b"):
        master.report(each)

    gevent.joinall(waiting, timeout=5)
    assert all(each.ready() for each in waiting)
    assert len(master.asked) == 2


def test_worker_that_has_reported_is_not_asked(reports, master):
    master.report("a")
    master.clients.running.pop()

    reports.await_all()

    assert master.asked == []


def test_idle_worker_is_not_waited_for(reports, master):
    """A worker that joined after the start may not know the request for a report."""
    master.clients.ready = master.clients.running
    master.clients.running = []

    reports.await_all()

    assert master.asked == []


def test_lost_worker_is_not_waited_for(reports, master):
    waiting = gevent.spawn(reports.await_all)
    gevent.sleep(0)
    master.report("a")

    master.clients.running = master.clients.running[:1]

    waiting.join(timeout=5)
    assert waiting.ready()
    assert reports.missing == frozenset()


def test_worker_that_does_not_report_is_named(reports, master, monkeypatch):
    """After a time that is enough for any machine."""
    monkeypatch.setattr(messages, "_WITHIN_S", 0.05)
    waiting = gevent.spawn(reports.await_all)
    gevent.sleep(0)

    master.report("b")

    waiting.join(timeout=5)
    assert waiting.ready()
    assert reports.missing == {"a"}


@pytest.fixture(autouse=True)
def unpatched(monkeypatch):
    """Give Locust back its own messages at the end."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr(Message, "serialize", Message.serialize)
    monkeypatch.setattr(Message, "unserialize", Message.unserialize)


def parsed(**given: Any) -> Namespace:
    nothing = {
        "master": False,
        "worker": False,
        "processes": None,
        "master_bind_host": "*",
        "master_host": "m",
    }
    return Namespace(**nothing | given)


def test_message_with_the_token_is_read():
    require_proof("secret")

    found = Message.unserialize(Message("knouds-stop", {"reason": "x"}, "a").serialize())

    assert (found.type, found.data, found.node_id) == ("knouds-stop", {"reason": "x"}, "a")


def test_message_without_the_token_is_refused():
    plain = Message("knouds-stop", {"reason": "x"}, "a").serialize()
    require_proof("secret")
    mine = Message("client_ready", None, "a").serialize()

    for data in (plain, b"", mine[:-1] + b"x", mine[:32] + plain):
        with pytest.raises(RPCReceiveError, match="without the token"):
            Message.unserialize(data)


def test_processes_of_this_machine_listen_on_loopback_alone():
    options = parsed(processes=2)

    secure(options)

    assert (options.master_bind_host, options.master_host) == ("127.0.0.1", "127.0.0.1")
    with pytest.raises(RPCReceiveError):
        Message.unserialize(b"\x93" + bytes(40))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"master": True}, "--master-bind-host"),
        ({"master": True, "master_bind_host": "10.0.0.1"}, TOKEN_VARIABLE),
        ({"worker": True}, TOKEN_VARIABLE),
    ],
)
def test_workers_elsewhere_need_an_address_and_the_token(given, says):
    with pytest.raises(UsageError, match=says):
        secure(parsed(**given))


def test_token_of_the_environment_lets_workers_elsewhere_take_part(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "shared")
    options = parsed(master=True, master_bind_host="10.0.0.1")
    plain = Message("stats", None, "a").serialize()

    secure(options)

    assert options.master_bind_host == "10.0.0.1"
    assert len(Message("stats", None, "a").serialize()) == len(plain) + 32


def test_process_of_its_own_needs_nothing():
    secure(parsed())

    assert Message.unserialize(Message("stats", None, "a").serialize()).type == "stats"
