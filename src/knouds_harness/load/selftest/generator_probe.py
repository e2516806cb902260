"""The generator of the selftest: sends numbered requests to the truth server, and prints what it measured.

    python -m knouds_harness.load.selftest.generator_probe URL --rate 500 --seconds 10 [--users 1000]
    python -m knouds_harness.load.selftest.generator_probe URL --closed 20 --seconds 5

It consists of the same parts as a load run. It prints one JSON object, described by ``Observed``. Run it with
``python -m`` only, as Locust patches its process.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict
from typing import ClassVar, Final

import gevent
from locust import constant, task
from locust.env import Environment

from knouds_harness.load.arrivals.arrival_user import Arrivals, ArrivalUser
from knouds_harness.load.arrivals.schedule import ArrivalSchedule, Shape, Share
from knouds_harness.load.collection.locust_statistics import use_exact_buckets
from knouds_harness.load.collection.seconds import SERVICE, Second, SecondsCollector, SeriesKey
from knouds_harness.load.generator.validity import HealthMonitor
from knouds_harness.load.selftest.selftest import Observed
from knouds_harness.runs.operation_load import RequestStatus

_NAME: Final = "probe"
_AHEAD_S: Final = 0.5
_LONGEST_ANSWER_S: Final = 15.0
_PATH: Final = "/n"


class GeneratorProbe(ArrivalUser):
    """Sends its arrival's number, so that the server knows which request was due when."""

    wait_time = constant(0)
    start_s: ClassVar[float] = 0.0
    rate: ClassVar[float] = 1.0

    @task
    def ask(self) -> None:
        due_s = self.client.scheduled_at
        number = -1 if due_s is None else round((due_s - self.start_s) * self.rate)
        self.client.post(_PATH, data=str(number), name=_NAME)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send numbered requests to the truth server.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=0.0, help="arrivals per second")
    parser.add_argument("--closed", type=int, default=0, metavar="USERS", help="users of the closed model")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--users", type=int, default=1000, help="most in flight")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # Locust would warn that all users start at once, which is meant
    observed = probe(
        options.url, rate=options.rate or None, users=options.closed or options.users, seconds=options.seconds
    )
    sys.stdout.write(json.dumps(asdict(observed)) + "\n")


def probe(url: str, *, rate: float | None, users: int, seconds: float) -> Observed:
    """Send load from this process: so many arrivals per second, or the closed model without a rate."""
    use_exact_buckets()
    watch = HealthMonitor()
    environment = Environment(user_classes=[GeneratorProbe], host=url)
    runner = environment.create_local_runner()
    counted = Second(unix_s=0)
    recording = SecondsCollector(environment, on_second=counted.add)
    arrivals = None
    if rate is not None:
        schedule = ArrivalSchedule(shape=Shape.of("constant", rate, seconds))
        arrivals = GeneratorProbe.arrivals = Arrivals(schedule)
        GeneratorProbe.rate = rate
    runner.start(users, spawn_rate=users)
    while runner.user_count < users:
        gevent.sleep(0.05)
    GeneratorProbe.start_s = time.perf_counter() + (_AHEAD_S if arrivals else 0.0)
    if arrivals:
        arrivals.begin(GeneratorProbe.start_s, Share())
    gevent.sleep(max(0.0, GeneratorProbe.start_s - time.perf_counter()))
    if not arrivals:
        recording.recorder.take(with_current=True)
    watch.begin()
    cpu_began_s = time.process_time()
    gevent.sleep(seconds)
    cpu_s = time.process_time() - cpu_began_s
    if arrivals:
        _await_answers(arrivals, users)
    duration_s = seconds if arrivals else time.perf_counter() - GeneratorProbe.start_s
    recording.hand_out(everything=True)
    kept = counted.histograms.get(SeriesKey(_NAME, RequestStatus.KEPT))
    service = counted.histograms.get(SeriesKey(_NAME, RequestStatus.KEPT, SERVICE), kept)
    health = watch.health()
    observed = Observed(
        start_s=GeneratorProbe.start_s,
        duration_s=duration_s,
        handed=arrivals.handed if arrivals else 0,
        dropped=arrivals.dropped if arrivals else 0,
        response_counts=kept.counts if kept else {},
        service_counts=service.counts if service else {},
        failed=sum(counted.errors.values()),
        lateness_counts=arrivals.lateness.counts if arrivals else {},
        lag_counts={missed: lags.counts for missed, lags in health.lags.items()},
        timer=arrivals.timer if arrivals else "",
        cpu_s=cpu_s,
    )
    runner.quit()
    return observed


def _await_answers(arrivals: Arrivals, users: int) -> None:
    deadline_s = time.perf_counter() + _LONGEST_ANSWER_S
    while time.perf_counter() < deadline_s and not (arrivals.are_over and arrivals.idle == users):
        gevent.sleep(0.05)


if __name__ == "__main__":
    main()
