"""What verifying costs the load generator: nothing, the sample of a usual run, every tenth answer, and all.

nginx answers from one core; the generator runs on another: 50 users of a scenario without think time, three
runs to each whoami, on an account without a rate limit. No two runs are answered alike, so that no body is
known by its bytes; ``--verify`` observes runs and limits of all. Processor time counts: throughput falls by
what a request costs more. The four take turns within one process, in slices of some milliseconds and another
order each round, so that what else a machine does meets all of them alike. That only ever adds, so the tenth
percentile of the slices comes nearest to what they cost by themselves; the median of the rounds' ratios
stands beside it. Run it on a Linux machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GENERATOR_CORE, SERVER_CORE = 0, 1
USERS = 50
PORT = 18490
NOTHING, SAMPLE, TENTH, ALL = "nothing", "sample", "10 %", "100 %"
SHARES = {SAMPLE: 0.0, TENTH: 0.1, ALL: 1.0}
GOALS = {SAMPLE: 0.03, TENTH: 0.08, ALL: 0.40}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location = /api/whoami {{ return 200
      '{{"user":{{"id":"u1","email":"a@b.example","role":"user","tier":"enterprise","approved":true}}}}'; }}
    location = /api/usage {{ return 200 '{{"rows":[],"page":1,"pageSize":500,"total":0}}'; }}
    location / {{ return 200
      '{{"success":true,"result":{{"images":["https://cdn.example/$request_id"]}},"cost":8,"ms":$msec}}'; }}
  }}
}}
"""


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1500)
    parser.add_argument("--requests", type=int, default=60, help="of a slice")
    parser.add_argument("--inside", action="store_true", help="measure in this process; used by the script")
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.rounds, options.requests)))
        return
    with serving():
        command = ["taskset", "-c", str(GENERATOR_CORE), sys.executable, __file__, "--inside"]
        command += ["--rounds", str(options.rounds), "--requests", str(options.requests)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rounds: list[dict[str, float]] = json.loads(output.splitlines()[-1])
    print(f"{platform.python_implementation()} {platform.python_version()}, {options.rounds} rounds")
    undisturbed_us = {}
    for name in (NOTHING, *SHARES):
        costs_us = sorted(each[name] for each in rounds)
        undisturbed_us[name] = statistics.quantiles(costs_us, n=10)[0]
        print(
            f"{name:>7} verified: {undisturbed_us[name]:6.1f} µs undisturbed (tenth percentile), "
            f"{statistics.median(costs_us):6.1f} µs median"
        )
    for name, goal in GOALS.items():
        median = statistics.median(1 - each[NOTHING] / each[name] for each in rounds)
        print(
            f"{name:>7} verified: throughput falls by "
            f"{1 - undisturbed_us[NOTHING] / undisturbed_us[name]:.1%} undisturbed, "
            f"{median:.1%} in the median round (goal: at most {goal:.0%})"
        )


@contextmanager
def serving() -> Iterator[None]:
    """Nginx on one core."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "nginx.conf"
        config.write_text(NGINX.format(folder=name, port=PORT))
        command = ["taskset", "-c", str(SERVER_CORE), nginx, "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


class Turns:
    """Takes the processor time of slices of so many requests, each with another verification.

    Attributes:
        rounds: Processor time per request in µs by what is verified; the last is not whole.
    """

    def __init__(self, requests: int, *, tell: Callable[[str], object]) -> None:
        self.rounds: list[dict[str, float]] = [{}]
        self._requests = self._left = requests
        self._tell = tell
        self._chance = random.Random(1)
        self._to_measure: list[str] = []
        self._began_s = time.process_time()

    def count(self, **_: object) -> None:
        """A request has ended; its answer was verified just before."""
        self._left -= 1
        if self._left:
            return
        self._left = self._requests
        if self._to_measure:
            took_s = time.process_time() - self._began_s
            self.rounds[-1][self._to_measure.pop()] = took_s / self._requests * 1e6
        if not self._to_measure:
            self.rounds.append({})
            self._to_measure = self._chance.sample((NOTHING, *SHARES), 1 + len(SHARES))
        self._tell(self._to_measure[-1])
        self._began_s = time.process_time()


def measure(rounds: int, requests: int) -> list[dict[str, float]]:
    """Run a scenario in this process, with another verification in each slice.

    Returns:
        Processor time per request in µs by what is verified, for each round but the first.
    """
    import gevent
    from locust import constant
    from locust.env import Environment

    from knouds_harness.contract.document import shipped_document
    from knouds_harness.contract.operations import Action
    from knouds_harness.load.collection.locust_statistics import use_exact_buckets
    from knouds_harness.load.generator.leading_run import LeadingRun
    from knouds_harness.load.generator.load_run import LoadSetup
    from knouds_harness.load.invariants.verification import LoadVerification
    from knouds_harness.load.options import LoadOptions
    from knouds_harness.load.scenario import ScenarioUser
    from knouds_harness.load.tasks import run_workflow, who_am_i
    from knouds_harness.load.workload.workload import Workload
    from knouds_harness.targets.personas import Persona, Secret
    from knouds_harness.targets.profile import Target
    from knouds_harness.targets.resources import Limits, Workflow

    use_exact_buckets()
    key = Persona(
        name="full",
        secret=Secret("knouds_live_no-secret", "key:full"),
        capabilities=frozenset({"workflow:run"}),
        user="ada",
        tier="enterprise",
    )
    target = Target(
        name="nginx",
        base_url=f"http://127.0.0.1:{PORT}",
        limits=Limits(credits=1e9, allow=frozenset(Action)),
        personas={"full": key},
        workflows={"portrait": Workflow(slug="portrait", owner="ada", cost_credits=8)},
    )
    options = LoadOptions(target="nginx", users=USERS, duration_s=3600.0, seed=1)
    members = {
        "host": target.base_url,
        "wait_time": constant(0),
        "needs": ("workflow:run",),
        "tasks": {run_workflow: 3, who_am_i: 1},
    }
    user_class = type("Runs", (ScenarioUser,), members)
    environment = Environment(user_classes=[user_class], host=target.base_url)
    runner = environment.create_local_runner()
    workload = Workload(target, price=lambda each: each.cost_credits, document=shipped_document())
    run = LeadingRun(environment, LoadSetup(options=options, target=target, workload=workload))
    run.attach()
    verifications = {
        name: LoadVerification(options, target, share=share, process=0, is_alone=False)
        for name, share in SHARES.items()
    }

    turns = Turns(requests, tell=lambda name: setattr(run, "verification", verifications.get(name)))
    runner.start(USERS, spawn_rate=USERS)
    gevent.sleep(1.0)
    environment.events.request.add_listener(turns.count)  # type: ignore[no-untyped-call]  # Locust says no types
    while len(turns.rounds) < rounds + 3:
        gevent.sleep(0.1)
    failures = environment.stats.total.num_failures
    runner.quit()
    invariants = [each for one in verifications.values() for each in one.invariants()]
    if failures or not any(each.seen for each in invariants) or any(each.broken for each in invariants):
        sys.exit(f"{failures} failures, {invariants}")
    return turns.rounds[2 : rounds + 2]


if __name__ == "__main__":
    main()
