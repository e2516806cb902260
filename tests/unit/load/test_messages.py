"""A slow worker loses no measurements, and strangers can neither lead a load nor end it."""

from argparse import Namespace
from typing import Any

import gevent
import pytest
from load_workload import FakeMaster, FakeWorker
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


def reports_as(master: Any, worker: str, *, is_final: bool = True) -> None:
    data = {IS_FINAL: True} if is_final else {}
    master.environment.events.worker_report.fire(client_id=worker, data=data)


def asked_by(master: Any) -> list[str]:
    return sorted(worker for _, _, worker in master.sent)


@pytest.fixture
def worker() -> Any:
    return FakeWorker(Environment())


@pytest.fixture
def reporter(worker) -> FinalReporter:
    return FinalReporter(worker)


@pytest.fixture
def master() -> Any:
    master = FakeMaster(Environment())
    master.have("a", "b")
    return master


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
        reports_as(master, each, is_final=False)

    reports.await_all()

    assert (master.sent, reports.missing) == ([], frozenset())


def test_final_report_follows_the_last_request(reporter, worker):
    """It includes requests that were in flight, and what event listeners add."""
    worker.environment.events.report_to_master.add_listener(lambda data, **_: data.update(did=[*worker.did]))

    worker.hear(ASK_FINAL_REPORT)

    assert worker.sent == [("stats", {IS_FINAL: True, "did": ["stop"]})]


def test_final_report_is_sent_once_in_a_test(reporter, worker):
    """Also by a worker that quits unasked."""
    for _ in range(2):
        worker.environment.events.quitting.fire(environment=worker.environment)
    assert worker.sent == [("stats", {IS_FINAL: True})]

    worker.environment.events.test_start.fire(environment=worker.environment)
    for _ in range(2):
        worker.hear(ASK_FINAL_REPORT)

    assert worker.sent == [("stats", {IS_FINAL: True})] * 2


def test_master_waits_for_every_worker(reports, master):
    """Whoever calls, and asks each once."""
    stopping = gevent.spawn(master.environment.events.test_stopping.fire, environment=master.environment)
    second = gevent.spawn(reports.await_all)
    gevent.sleep(0)
    reports_as(master, "a", is_final=False)

    for each in ("a", "b"):
        assert not stopping.ready()
        assert not second.ready()
        reports_as(master, each)

    stopping.get(timeout=5)
    second.get(timeout=5)
    assert asked_by(master) == ["a", "b"]
    assert reports.missing == frozenset()


def test_only_workers_whose_report_is_missing_are_asked(reports, master):
    """One that joined after the start is idle, and may not know the request for a report."""
    reports_as(master, "a")
    master.clients.ready = [master.clients.running.pop()]

    reports.await_all()

    assert master.sent == []


def test_lost_worker_is_not_waited_for(reports, master):
    waiting = gevent.spawn(reports.await_all)
    gevent.sleep(0)
    reports_as(master, "a")

    master.have("a")

    waiting.get(timeout=5)
    assert reports.missing == frozenset()


def test_worker_that_does_not_report_is_named(reports, master, monkeypatch):
    monkeypatch.setattr(messages, "_WITHIN_S", 0.05)
    waiting = gevent.spawn(reports.await_all)
    gevent.sleep(0)

    reports_as(master, "b")

    waiting.get(timeout=5)
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
