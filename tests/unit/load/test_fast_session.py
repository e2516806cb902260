"""FastHttpUser's client under our scenarios: its answers tell what ours tell."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any

import pytest
from locust.env import Environment
from raw_server import RawServer, serving

from knouds_harness.load.fast_session import FastSession
from knouds_harness.load.users import KnoudsUser


def tell_target(server: RawServer, connection: socket.socket) -> None:
    """Answers with what follows the method."""
    while request := server.read_request(connection):
        target = request.split(b" ")[1]
        connection.sendall(b"HTTP/1.1 202 Taken\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


@pytest.fixture
def events():
    """What Locust was told."""
    return []


@pytest.fixture
def sessions(events):
    """Ours and Locust's, of one user."""
    with serving(tell_target) as server:
        environment = Environment(host=server.base_url)
        environment.events.request.add_listener(lambda **event: events.append(event))
        user: Any = type("User", (KnoudsUser,), {"host": server.base_url})(environment)
        fast = FastSession(user)
        with closing(user.client), closing(fast.client.clientpool):
            yield user.client, fast


def test_query_is_sent_and_told_alike(sessions, events):
    """A submit is told from a run that is waited for by its query alone, whichever client sent it."""
    for session in sessions:
        with session.request(
            "POST", "/run", name="runWorkflow async", params={"async": "true"}, catch_response=True
        ) as response:
            response.success()

    ours, fast = (event["response"] for event in events)
    assert fast.content == ours.content == b"/run?async=true"
    assert fast.url == ours.url
    assert fast.url.endswith("/run?async=true")
    assert [event["url"] for event in events] == [ours.url, ours.url]
