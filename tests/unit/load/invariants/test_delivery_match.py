"""Deliveries of executions that ended."""

from __future__ import annotations

import socket
import struct

import pytest
from gevent import sleep
from gevent.socket import create_connection

from knouds_harness.load.invariants.delivery_match import DeliveryMatch, DeliveryServer
from knouds_harness.load.invariants.invariants import ONE_DELIVERY
from knouds_harness.load.invariants.observations import hash_of
from knouds_harness.load.invariants.tallies import Tallies


def matched(ended, delivered, **options):
    """The tally of some endings and deliveries, and what did the matching."""
    match, tallies = DeliveryMatch(**options), Tallies()
    for each in delivered:
        match.take(hash_of(each))
    match.expect(b"".join(map(hash_of, ended)))
    match.judge(tallies)
    return tallies.by_invariant[ONE_DELIVERY], match


@pytest.mark.parametrize(
    ("delivered", "broken", "are_all_here"),
    [(["a", "b"], 0, True), (["a"], 1, False), (["a", "b", "b"], 1, True), (["a", "b", "c", "c"], 0, True)],
    ids=["each once", "one lacks", "one twice", "another's twice"],
)
def test_each_ended_execution_is_delivered_once(delivered, broken, are_all_here):
    """Of those whose end was seen."""
    tally, match = matched(["a", "b"], delivered)

    assert (tally.seen, tally.broken) == (2, broken)
    assert match.are_all_here is are_all_here


def test_bounded_match_follows_a_share_whole():
    """Whatever is remembered is remembered on both sides."""
    names = [f"e-{number}" for number in range(1000)]

    tally, _ = matched(names, [*names, *names[:500]], most=100)

    assert 0 < tally.seen <= 100
    assert 0 < tally.broken < tally.seen


def test_connection_that_is_reset_prints_nothing(capfd):
    """In the middle of a delivery; the next one is taken."""
    came: list[bytes] = []
    with DeliveryServer(("127.0.0.1", 0)) as server:
        server.on_post = lambda post: came.append(post.body)
        for length in (9, 2):
            with create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{}" % length)
                if length == 2:
                    assert connection.recv(100).startswith(b"HTTP/1.1 204")
                else:
                    sleep(0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert came == [b"{}"]
    assert "Traceback" not in capfd.readouterr().err
