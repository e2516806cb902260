"""A master counts each request of its workers once."""

import json
import socket
import subprocess
import sys
from typing import Any

import pytest
from raw_server import RawServer, serving

USERS = 4
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DISTRIBUTED = """
import json
from dataclasses import astuple

import gevent
from locust import constant, events, task
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.measures.histograms import merged
from knouds_harness.load.collection.locust_statistics import use_exact_buckets
from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.load.collection.seconds import SecondsCollector
from knouds_harness.runs.operation_load import RequestStatus
from knouds_harness.load.users import KnoudsUser

use_exact_buckets()

class Asking(KnoudsUser):
    wait_time = constant(0.01)

    @task
    def ask(self):
        self.client.get("/a", name="ask")

@events.test_stopping.add_listener
def stop_slowly(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        gevent.sleep(1.5)  # as on a busy machine; Locust's master waits for half a second

@events.init.add_listener
def record(environment, **_):
    seconds = []
    recording = SecondsCollector(environment, on_second=seconds.append)

    @environment.events.quitting.add_listener
    def tell(environment, **_):
        if isinstance(environment.runner, MasterRunner):
            recording.hand_out(everything=True)
            entry = environment.stats.get("ask", "GET")
            kept = merged(second.ok() for second in seconds)
            whole = Second(unix_s=0)
            for second in seconds:
                whole.add(second)
            print(json.dumps({
                "recorded": len(kept),
                "opened": len(whole.histograms[SeriesKey("ask", RequestStatus.OK, "connect")]),
                "traffic": astuple(whole.traffic["ask"]),
                "in order": seconds == sorted(seconds, key=lambda second: second.unix_s),
                "p50_ms": kept.percentile_s(50) * 1e3,
                "locust": entry.num_requests,
                "locust p50_ms": entry.get_response_time_percentile(0.5),
            }))
"""


def test_master_counts_what_its_workers_sent(tmp_path):
    """Master, workers, Locust and the server count the same requests, connections and bytes."""

    def script(server: RawServer, connection: Any) -> None:
        while server.read_request(connection):
            connection.sendall(ANSWER)

    locustfile = tmp_path / "asking.py"
    locustfile.write_text(DISTRIBUTED)
    with serving(script) as server:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
        options = f"--headless --users {USERS} --spawn-rate 4 --run-time 3s --processes 2".split()
        options += ["--stop-timeout", "5"]  # so no user is killed between sending and counting
        options += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
        command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", server.base_url, *options]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert process.returncode == 0, process.stderr
    told = json.loads(next(line for line in process.stdout.splitlines() if line.startswith("{")))
    assert told["recorded"] == told["locust"] > 100
    assert len(server.requests) == told["locust"]
    assert told["opened"] == server.connections
    assert told["traffic"] == [
        sum(map(len, server.requests)),
        len(ANSWER) * len(server.requests),
        len(server.requests),
    ]
    assert told["in order"]
    assert told["locust p50_ms"] == pytest.approx(told["p50_ms"], rel=0.01)  # at most one rank apart
