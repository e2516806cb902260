"""How much memory an hour of load takes: 2,000 requests per second over 20 operations, fed at full speed.

No request is sent and no time is waited for. Locust's ``request`` event is fired for each request of an hour,
on a clock that stands where the request would have ended; all that listens in a real run listens: our
histograms, the run controller with its record, HdrHistogram log and figures for reports, and Locust's own
statistics; a thousand users wait for arrivals meanwhile. Says what the process holds every ten minutes of
that hour. What open connections take comes on top.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import gevent
from locust import stats as locust_stats
from locust import task
from locust.env import Environment

from knouds_harness.load.arrivals.arrival_user import ArrivalUser
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.locust_statistics import use_exact_buckets
from knouds_harness.load.collection.seconds import SecondsRecorder
from knouds_harness.load.generator.leading_run import LeadingRun
from knouds_harness.load.generator.load_run import LoadSetup
from knouds_harness.load.options import add_options, read_options
from knouds_harness.runs.load_record import read_load
from knouds_harness.targets.profile import Target

LOOK_EVERY_S = 600
ERROR_SHARE = 0.001
USERS = 1000


class Idle(ArrivalUser):
    """Waits for arrivals that never come."""

    host = "http://127.0.0.1"

    @task
    def nothing(self) -> None:
        """Never done."""


def main() -> None:
    """Feed the hour and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--operations", type=int, default=20)
    options = parser.parse_args()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, locust {version('locust')}: "
        f"{options.seconds} s at {options.rate:,}/s, {options.operations} operations"
    )
    with tempfile.TemporaryDirectory() as folder:
        for at_s in fed(options.seconds, options.rate, options.operations, Path(folder)):
            print(f"{at_s:5} s: {resident_mb():.0f} MB", flush=True)
        (run,) = Path(folder).iterdir()
        measured = read_load(run, [])
        counted = sum(each.requests for each in measured.results.operations) if measured else 0
        size_mb = sum(path.stat().st_size for path in run.iterdir()) / 1e6
    print(f"{counted:,} requests in the record, which takes {size_mb:.0f} MB on disk")


def fed(seconds: int, rate: int, operations: int, folder: Path) -> Iterator[int]:
    """Feed requests; yields seconds of the run at which to look."""
    chance = random.Random(1)
    start_s = int(time.time()) - seconds
    now_s = float(start_s)
    vars(locust_stats)["time"] = SimpleNamespace(**{**vars(time), "time": lambda: now_s})
    use_exact_buckets()
    parser = argparse.ArgumentParser()
    add_options(parser)
    asked = ["--rate", str(rate), "--duration", str(seconds), "--record", str(folder)]
    parsed = parser.parse_args(asked, argparse.Namespace(run_time=None, num_users=USERS))
    options = read_options(parsed)
    environment = Environment(user_classes=[Idle])
    runner = environment.create_local_runner()
    target = Target(name="memory", base_url="http://127.0.0.1")
    run = LeadingRun(environment, LoadSetup(options=options, target=target))
    run.attach()
    runner.start(USERS, spawn_rate=USERS)
    gevent.sleep(2.0)
    run.metrics.begin(start_s)  # and no arrivals
    recorder = SecondsRecorder(clock=lambda: now_s)
    environment.events.request.remove_listener(run.seconds.recorder.on_request)  # instead of its own
    environment.events.request.add_listener(recorder.on_request)
    kept, failed = Response(), Response()
    kept.status_code, failed.status_code = 200, 500
    names = [f"operation{number}" for number in range(operations)]
    yield 0
    for second in range(seconds):
        for number in range(rate):
            now_s = start_s + second + number / rate
            took_ms = 20 * chance.lognormvariate(0, 0.6)
            is_kept = chance.random() > ERROR_SHARE
            response = kept if is_kept else failed
            response.elapsed_ms = took_ms
            environment.events.request.fire(
                request_type="POST",
                name=names[number % operations],
                response_time=took_ms,
                response_length=100,
                response=response,
                context={},
                exception=None if is_kept else ConnectionError("500 instead of 200"),
                start_time=now_s,
                url="http://127.0.0.1/",
            )
        now_s = start_s + second + 1.0
        for each in recorder.take():
            run.add_second(each)
        gevent.sleep(0)  # what Locust does each second has its turn
        run.flush()  # an hour passes in minutes, and what is to be written is not to gather
        if (second + 1) % LOOK_EVERY_S == 0 or second + 1 == seconds:
            yield second + 1
    for each in recorder.take(with_current=True):
        run.add_second(each)
    run.conclude()
    print(f"{environment.stats.total.num_requests:,} requests in Locust's statistics")


def resident_mb() -> float:
    """What the process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
