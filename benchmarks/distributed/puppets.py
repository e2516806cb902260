"""Workers that only talk: each sends its master, over a socket of its own, what a busy worker sends.

What they report was counted once by our own recorder and by Locust's statistics, for so many operations and
so many requests per second of lognormal durations, and is sent again and again with the time of the day.
Prints how many messages and bytes they sent, once a second, with the second; ends when told to.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from typing import Any

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

import zmq
from locust import __version__ as locust_version
from locust.env import Environment
from locust.rpc.protocol import Message
from locust.stats import RequestStats, setup_distributed_stats_event_listeners

from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.locust_statistics import use_exact_buckets
from knouds_harness.load.collection.seconds import REPORT_KEY, SecondsRecorder, packed
from knouds_harness.load.final_reports import HEALTH, SENT_AT
from knouds_harness.load.generator.validity import Health

REPORT_EVERY_S = 3
"""As ``locust.runners.WORKER_REPORT_INTERVAL``."""


def report_of(operations: int, per_s: int) -> dict[str, Any]:
    """What a worker reports of three seconds."""
    use_exact_buckets()
    environment = Environment()
    stats = RequestStats()
    setup_distributed_stats_event_listeners(environment.events, stats)
    now_s = 0.0
    recorder = SecondsRecorder(clock=lambda: now_s)
    chance = random.Random(0)
    response = Response()
    response.fill(200, b"HTTP/1.1 200 OK\r\n\r\n", 0, b"{}")
    health = Health()
    for number in range(per_s * REPORT_EVERY_S):
        now_s = number / per_s
        name, took_ms = f"operation{number % operations}", chance.lognormvariate(3, 0.6)
        response.elapsed_ms = took_ms
        recorder.on_request(name=name, response_time=took_ms, exception=None, response=response)
        stats.log_request("POST", name, took_ms, 120)
        health.lateness.record(chance.lognormvariate(-9, 0.5))
        health.lags[0].record(chance.lognormvariate(-9, 0.5))
    data: dict[str, Any] = {}
    environment.events.report_to_master.fire(client_id="", data=data)
    data[REPORT_KEY] = [packed(second) for second in recorder.take(with_current=True)]
    data[HEALTH] = health.packed()
    return data | {"user_classes_count": {}, "user_count": 0}


def at(report: dict[str, Any], now_s: float) -> dict[str, Any]:
    """The report of the last three seconds."""
    seconds = [
        [int(now_s) - REPORT_EVERY_S + ago, *rest] for ago, (_, *rest) in enumerate(report[REPORT_KEY])
    ]
    return report | {REPORT_KEY: seconds, SENT_AT: now_s}


class Puppet:
    """One worker, as its master sees it."""

    def __init__(self, context: zmq.Context, poller: zmq.Poller, port: int, name: str) -> None:
        self.name = name
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        poller.register(self.socket, zmq.POLLIN)
        self.state = "ready"
        self.users: dict[str, int] = {}
        self.sent = self.bytes = 0
        self.say("client_ready", locust_version)

    def say(self, kind: str, data: object = None) -> None:
        """Send a message."""
        raw = Message(kind, data, self.name).serialize()
        self.socket.send(raw)
        self.sent += 1
        self.bytes += len(raw)

    def hear(self) -> None:
        """Do what the master says."""
        message = Message.unserialize(self.socket.recv())
        if message.type == "spawn":
            self.say("spawning")
            self.users = message.data["user_classes_count"]
            self.state = "running"
            self.say(
                "spawning_complete",
                {"user_classes_count": self.users, "user_count": sum(self.users.values())},
            )

    def beat(self) -> None:
        """Send a heartbeat."""
        self.say("heartbeat", {"state": self.state, "current_cpu_usage": 50, "current_memory_usage": 0})


def main() -> None:
    """Talk until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--operations", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True, help="requests per second of each")
    options = parser.parse_args()
    report = report_of(options.operations, options.rate)
    poller = zmq.Poller()
    context = zmq.Context()
    puppets = {}
    for number in range(options.workers):
        puppet = Puppet(context, poller, options.port, f"puppet-{number:05}")
        puppets[puppet.socket] = puppet
    due = {}  # spread over the interval, as workers of several machines are
    began_s = time.monotonic()
    for number, puppet in enumerate(puppets.values()):
        due[puppet] = [began_s + number / len(puppets), began_s + REPORT_EVERY_S * number / len(puppets)]
    told_s = began_s
    while True:
        for socket, _ in poller.poll(timeout=5):
            puppets[socket].hear()
        now_s = time.monotonic()
        for puppet, times in due.items():
            if times[0] <= now_s:
                times[0] += 1
                puppet.beat()
            if times[1] <= now_s:
                times[1] += REPORT_EVERY_S
                mine = {"user_classes_count": puppet.users, "user_count": sum(puppet.users.values())}
                puppet.say("stats", at(report, time.time()) | mine)
        if now_s - told_s >= 1:
            told_s = now_s
            sent, size = (sum(getattr(each, name) for each in puppets.values()) for name in ("sent", "bytes"))
            print(now_s, sent, size, flush=True)


if __name__ == "__main__":
    main()
