"""A flood: counts without events."""

from __future__ import annotations

import itertools
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from locust.env import Environment
from raw_server import RawServer, serving

from knouds_harness.errors import UsageError
from knouds_harness.load import flood
from knouds_harness.load.flood import FloodUser
from knouds_harness.load.outcomes import Outcome
from knouds_harness.load.recording import Error, Recorder, Second, Series


def script(server: RawServer, connection: socket.socket) -> None:
    while request := server.read_request(connection):
        if b"/gone" in request:
            return
        status = b"429 Too Many Requests" if b"/limited" in request else b"200 OK"
        ends = b"/ends" in request
        close = b"Connection: close\r\n" if ends else b""
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + close + b"Content-Length: 2\r\n\r\n{}")
        if ends:
            return


class Flooding(FloodUser):
    paths = ("/",)

    def prepared(self):
        return [self.client.prepare("POST", path, name=path, json={}) for path in self.paths]


@pytest.fixture
def user(monkeypatch):
    """A flood's user, its server and what is told of it.

    A batch ends by a clock that goes on by a millisecond whenever it is looked at, so that it holds as many
    requests on a busy machine as on an idle one.
    """
    ticks = itertools.count()
    clocks = SimpleNamespace(perf_counter=lambda: next(ticks) / 1000, time=time.time)
    monkeypatch.setattr(flood, "time", clocks)
    monkeypatch.setattr(flood, "_BATCH_S", 0.05)
    with serving(script) as server:
        environment = Environment(host=server.base_url)
        user: Any = type("User", (Flooding,), {"host": server.base_url, "recorder": Recorder()})(environment)
        yield user, server
        user.client.close()


def taken(recorder: Recorder) -> Second:
    """Everything, whether or not the clock's second changed meanwhile."""
    whole = Second(unix_s=0)
    for second in recorder.take(with_current=True):
        whole.add(second)
    return whole


def start(user: FloodUser, *paths: str) -> None:
    type(user).paths = paths or ("/",)  # type: ignore[attr-defined]
    user.on_start()
    user.flood()


def test_every_request_is_counted(user):
    """By the server, by Locust's statistics and by the recorder, and no event is fired."""
    user, server = user
    events: list[object] = []
    user.environment.events.request.add_listener(lambda **event: events.append(event))

    start(user, "/a", "/b")

    total = user.environment.stats.total
    second = taken(user.recorder)
    recorded = {series.operation: len(histogram) for series, histogram in second.histograms.items()}
    assert total.num_requests == len(server.requests) == sum(recorded.values()) > 10
    assert set(recorded) == {"/a", "/b"}
    assert user.environment.stats.get("/a", "POST").num_requests == recorded["/a"]
    assert total.total_content_length == 2 * total.num_requests
    assert 0 < total.min_response_time <= total.median_response_time <= total.max_response_time < 50
    assert (total.num_failures, events) == (0, [])


def test_error_statuses_are_failures(user):
    """In Locust's table of errors, and under their outcome."""
    user, server = user

    start(user, "/limited", "/a")

    stats = user.environment.stats
    limited = stats.get("/limited", "POST")
    second = taken(user.recorder)
    assert limited.num_requests == limited.num_failures == stats.total.num_failures > 0
    assert stats.total.num_requests == len(server.requests)
    assert [repr(error.error) for error in stats.errors.values()] == ["BadStatus(429)"]
    assert second.errors == {Error("/limited", Outcome.THROTTLED, 429, ""): limited.num_requests}
    assert len(second.histograms[Series("/limited", Outcome.THROTTLED)]) == limited.num_requests


def test_requests_without_an_answer_are_failures(user):
    """Each is counted, and the flood goes on after a moment."""
    user, server = user

    start(user, "/gone", "/a")

    gone = user.environment.stats.get("/gone", "POST")
    second = taken(user.recorder)
    assert gone.num_requests == gone.num_failures > 1
    assert user.environment.stats.total.num_requests == len(server.requests)
    assert second.errors == {Error("/gone", Outcome.FAILED, 0, "ConnectionLost"): gone.num_requests}


def test_large_requests_are_sent_whole(user, monkeypatch):
    """More than fits into a socket's buffer, over one connection."""
    user, server = user
    monkeypatch.setattr(flood, "_BATCH_S", 0.005)
    body = bytes(range(256)) * 8_000
    type(user).prepared = lambda self: [self.client.prepare("POST", "/a", name="/a", data=body)]

    start(user)

    assert len(server.requests) == user.environment.stats.total.num_requests > 1
    assert all(request.endswith(body) for request in server.requests)
    assert server.connections == 1


def test_server_that_ends_each_connection_is_flooded_all_the_same(user):
    """Each answer says that the connection ends; the next request gets another one."""
    user, server = user

    start(user, "/ends", "/a")

    total = user.environment.stats.total
    assert total.num_requests == len(server.requests) > 2
    assert total.num_failures == 0
    assert server.connections > 1


@pytest.mark.parametrize(
    "prepared",
    [
        pytest.param([("HEAD", "/")], id="HEAD"),
        pytest.param([("GET", "/"), ("GET", "http://127.0.0.1:1/")], id="two servers"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_cannot_be_flooded_is_said(user, prepared):
    """Before anything is sent."""
    user, server = user
    type(user).prepared = lambda self: [self.client.prepare(*request, name="x") for request in prepared]

    with pytest.raises(UsageError, match="one server"):
        user.on_start()

    assert server.requests == []


def test_flood_says_what_to_prepare():
    """Nothing to send is a mistake of the locustfile."""
    user = type("User", (FloodUser,), {"host": "http://127.0.0.1:1"})(Environment())

    with pytest.raises(NotImplementedError):
        user.on_start()
