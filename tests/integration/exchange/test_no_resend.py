"""Requests that may cost money are sent once, whatever happens to the connection."""

import socket
import struct
import threading
from dataclasses import replace

import pytest
from example_targets import make_target
from raw_server import RawServer, serving

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import NO_SUCH_EXECUTION, NO_SUCH_MODEL, Request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
RUN = Request(
    method="POST", path="/api/workflows/portrait/run", persona="full", body=b'{"inputs": {}}', cost_credits=1
)


def close(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("hang_up", [close, reset])
@pytest.mark.parametrize(
    "path", [f"/api/executions/{NO_SUCH_EXECUTION}/cancel", f"/api/models/{NO_SUCH_MODEL}/run"]
)
def test_request_on_a_dropped_connection_is_not_sent_again(hang_up, path: str):
    """The server reads the second request on a kept connection, and hangs up without a response."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ANSWER)
        server.read_request(connection)
        hang_up(connection)

    request = Request(method="POST", path=path, body=b"{}", persona="full")
    with serving(script) as server, Client(target=make_target(server.base_url)) as client:
        first, second = client.send(request), client.send(request)

    assert first.status == 200
    assert second.failure is not None
    assert len(server.requests) == 2
    assert server.connections == 1


def test_abandoned_run_is_sent_once_and_counts_as_charged():
    """Its connection is closed at once, even if it was used before; the next request gets another one."""
    seen_closed = threading.Semaphore(0)

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            if len(server.requests) == 2:
                assert connection.recv(1) == b""
                seen_closed.release()
                return
            connection.sendall(ANSWER)

    with serving(script) as server, Client(target=make_target(server.base_url)) as client:
        client.send(RUN)
        abandoned = client.send(replace(RUN, is_abandoned=True))
        assert seen_closed.acquire(timeout=5)
        after = client.send(RUN)

    assert (abandoned.status, abandoned.is_lost, after.status) == (None, True, 200)
    assert server.requests[1].endswith(b'{"inputs": {}}')
    assert (len(server.requests), server.connections) == (3, 2)
    assert client.guard.budget.spent_credits == 3


def test_connection_closed_while_idle_is_replaced():
    """The request has not been sent yet, and is sent once, on a new connection."""
    closed = threading.Semaphore(0)

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ANSWER)
        connection.shutdown(socket.SHUT_RDWR)
        closed.release()

    with serving(script) as server, Client(target=make_target(server.base_url)) as client:
        for _ in range(3):
            assert client.send(RUN).status == 200
            assert closed.acquire(timeout=5)

    assert len(server.requests) == 3
    assert server.connections == 3


def test_lost_reused_connection_is_distinguished_from_no_response():
    """It may be a closed idle connection; from then on, each request has its own. Each counts as charged."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        if server.connections == 1:
            connection.sendall(ANSWER)
            server.read_request(connection)

    with serving(script) as server, Client(target=make_target(server.base_url)) as client:
        answered, lost, unanswered = client.send(RUN), client.send(RUN), client.send(RUN)

    assert (answered.is_lost, lost.is_lost, unanswered.is_lost) == (False, True, False)
    assert unanswered.failure == "the connection was closed before there was an answer"
    assert client.guard.budget.spent_credits == 3
    assert ("connection", "close") in [(n.lower(), v) for n, v in unanswered.sent_headers]


@pytest.mark.parametrize(("size_bytes", "is_lost"), [(1_000, False), (1_000_000, True)])
def test_connection_closed_with_a_long_body_unread_is_nobodys_fault(size_bytes, is_lost):
    def script(_: RawServer, connection: socket.socket) -> None:
        connection.recv(10)

    with serving(script) as server, Client(target=make_target(server.base_url)) as client:
        refused = client.send(replace(RUN, body=b" " * size_bytes))

    assert (refused.status, refused.is_lost) == (None, is_lost)
