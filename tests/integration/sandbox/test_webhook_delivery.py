"""Deliveries to receivers that are slow, move or redirect; the suite tests their contents."""

import contextlib
import threading

import httpx
from clocks import wait_until
from raw_server import always, serving

from knouds_sandbox.access.network import ReceiverRefused, ReceiverRules
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox


@contextlib.contextmanager
def connected(receiver, **options):
    """A client of a new sandbox, whose key has its webhook at the receiver."""
    hook, latency = f"{receiver.base_url}/hook", Latency(time_scale=0.05)
    with (
        running_sandbox(webhook_url=hook, latency=latency, **options) as sandbox,
        httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys["full"]}) as client,
    ):
        yield client


def submit(client, model="suno-v5"):
    return client.post(f"/api/models/{model}/run?async=true", json={"inputs": {}}).json()


def test_redirect_is_not_followed():
    moved = always(b"", status="307 Moved", more="Location: /elsewhere\r\n")
    with serving(moved) as receiver, connected(receiver) as client:
        submit(client)
        wait_until(lambda: len(receiver.requests) > 1)

    assert {each.split(b" ")[1] for each in receiver.requests} == {b"/hook"}


class Moved(ReceiverRules):
    """As for a name that resolves to a private address by then."""

    async def addresses(self, _):
        raise ReceiverRefused("moved")


def test_receiver_address_is_checked_at_each_attempt(caplog):
    """The log says what came of each."""
    caplog.set_level("INFO", logger="knouds_sandbox")
    with serving(always(b"")) as receiver, connected(receiver, receivers=Moved()) as client:
        submit(client)
        wait_until(lambda: "attempt 2: ReceiverRefused: moved" in caplog.text)

    assert receiver.requests == []


def test_slow_receiver_does_not_delay_others():
    may_answer = threading.Event()

    def take_late(server, connection):
        server.read_request(connection)
        may_answer.wait(5)
        connection.sendall(b"HTTP/1.1 204 Taken\r\n\r\n")

    with serving(take_late) as receiver, connected(receiver) as client:
        for _ in range(3):
            submit(client)

        wait_until(lambda: len(receiver.requests) == 3)
        may_answer.set()
