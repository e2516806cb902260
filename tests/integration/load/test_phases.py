"""Phases and bytes of a load, on a server that delays its responses and counts."""

from __future__ import annotations

import csv
import socket
import threading

import pytest
from example_targets import write_profile
from loading import load, scenario_of
from raw_server import proxying

FIRST_BYTE_S, BODY_S = 0.03, 0.02
ROUNDED = 0.999
"""Times are rounded to buckets."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
BODY = b'{"status":"ok"}'
ASKING = """    wait_time = constant(0.0)

    @task
    def ask(self):
        self.call("getHealth", "/api/health", params={"by": "load"}, is_public=True)
"""


def answer_slowly(connection: socket.socket) -> bool:
    for part, after_s in ((HEAD, FIRST_BYTE_S), (BODY, BODY_S)):
        threading.Event().wait(after_s)  # the delay to measure
        connection.sendall(part)
    return True


@pytest.mark.parametrize("more", [(), ("--rate", "40")], ids=["closed", "open"])
def test_phases_and_bytes_agree_with_the_server(more, tmp_path, sandbox):
    """No phase is shorter than the server's delay, and each byte and connection is counted once."""
    scenario = scenario_of(tmp_path, ASKING)
    with proxying(
        sandbox.base_url,
        lambda relayed, asked: answer_slowly if "by=load" in relayed.target else asked().in_bytes(),
    ) as server:
        profile = str(write_profile(tmp_path, sandbox, base_url=server.base_url))
        users = ("--users", "4", "--duration", "2s", "--quiet")
        loaded = load(tmp_path / "runs", scenario, "--target", profile, *users, *more)

    sent = [each for each in server.requests if b"?by=load " in each]
    (found,) = loaded.results.operations
    assert found.by_status["ok"] == found.requests == len(sent), loaded.err
    assert found.first_byte.count == found.body.count == found.requests
    assert found.first_byte.min_ms >= FIRST_BYTE_S * 1e3 * ROUNDED
    assert (found.first_byte.mean_ms or 0) + (found.body.mean_ms or 0) >= (
        FIRST_BYTE_S + BODY_S
    ) * 1e3 * ROUNDED
    assert found.body.max_ms > 0  # a busy machine may read everything at once
    assert found.sent_bytes == sum(map(len, sent))
    assert found.received_bytes == len(sent) * len(HEAD + BODY)
    assert found.connections_opened + found.connections_reused == len(sent)
    assert found.connect.count == found.connections_opened <= 4
    assert found.tls.count == found.dns.count == 0
    assert "medians in ms" in loaded.out
    (row,) = csv.DictReader((loaded.record.folder / "operations.csv").read_text().splitlines())
    assert int(row["received_bytes"]) == found.received_bytes
    assert float(row["first_byte_p99_ms"]) == found.first_byte.percentiles["99"]
    assert row["tls_p99_ms"] == ""
