"""Of a host with several addresses, one that does not answer is no obstacle."""

import socket
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest
from example_targets import make_target
from raw_server import always, serving

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request

WHOAMI = Request(method="GET", path="/api/whoami", persona="full")


@contextmanager
def hanging(port):
    """Listen on the port of another address with a full queue: connections are neither taken nor refused."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(socket.AF_INET6))
        listener.bind(("::1", port))
        listener.listen(0)
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket(socket.AF_INET6))
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("::1", port))
        yield


@pytest.mark.skipif(not socket.has_ipv6, reason="needs two addresses of this machine")
def test_next_address_is_used_if_the_first_hangs(monkeypatch):
    """Once an address has answered, later connections go to it first."""
    asked = socket.getaddrinfo

    def both(host, port, *arguments, **options):
        hosts = ["::1", "127.0.0.1"] if host == "localhost" else [host]
        return [found for each in hosts for found in asked(each, port, *arguments, **options)]

    def connect(address, *arguments, **options):
        tried.append(address[0])
        return connected(address, *arguments, **options)

    tried, connected = list[str](), socket.create_connection
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", both)
    with serving(always(b"{}", more="connection: close\r\n")) as server:
        port = urlsplit(server.base_url).port
        with hanging(port), Client(target=make_target(f"http://localhost:{port}")) as client:
            first, second = client.send(WHOAMI), client.send(WHOAMI)

    assert (first.status, second.status) == (200, 200)
    assert tried == ["::1", "127.0.0.1", "127.0.0.1"]
