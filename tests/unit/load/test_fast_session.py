"""FastHttpUser's client in our scenarios: its responses offer what ours do."""

import socket
from contextlib import closing
from typing import Any

import pytest
from locust.env import Environment
from raw_server import RawServer, serving

from knouds_harness.load.users import FastSession, KnoudsUser


def tell_key(server: RawServer, connection: socket.socket) -> None:
    while request := server.read_request(connection):
        [*keys] = [line for line in request.split(b"\r\n") if line.lower().startswith(b"x-api-key")]
        key = keys[0].split(b": ")[1] if keys else b"none"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(key), key))


def tell_target(server: RawServer, connection: socket.socket) -> None:
    while request := server.read_request(connection):
        target = request.split(b" ")[1]
        connection.sendall(b"HTTP/1.1 202 Taken\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


@pytest.fixture
def events():
    return []


@pytest.fixture
def sessions(events):
    with serving(tell_target) as server:
        environment = Environment(host=server.base_url)
        environment.events.request.add_listener(lambda **event: events.append(event))
        user: Any = type("User", (KnoudsUser,), {"host": server.base_url})(environment)
        fast = FastSession(user)
        with closing(user.client), closing(fast.client.clientpool):
            yield user.client, fast


def test_query_is_in_the_url_of_both_clients(sessions, events):
    """Only the query distinguishes a submit from a synchronous run."""
    for session in sessions:
        with session.request(
            "POST", "/run", name="runWorkflow async", params={"async": "true"}, catch_response=True
        ) as response:
            response.success()

    ours, fast = (event["response"] for event in events)
    assert fast.content == ours.content == b"/run?async=true"
    assert (fast.method, fast.url) == (ours.method, ours.url)
    assert fast.url.endswith("/run?async=true")
    assert [event["url"] for event in events] == [ours.url, ours.url]


def test_key_is_sent_only_to_the_base_url():
    with serving(tell_key) as server, serving(tell_key) as other:
        environment = Environment(host=server.base_url)
        fast = FastSession(type("User", (KnoudsUser,), {"host": server.base_url})(environment))
        with closing(fast.client.clientpool):
            fast.act_as((("x-api-key", "secret"),))
            told = [
                fast.get("/a").text,
                fast.get(f"{server.base_url}/a").text,
                fast.get("/a", headers={"x-api-key": None}).text,
                fast.get(f"{other.base_url}/a").text,
            ]
            with fast.get("/a", headers={"x-api-key": "mine"}, catch_response=True) as response:
                response.success()

    assert told == ["secret", "secret", "none", "none"]
    assert response.text == "mine"
