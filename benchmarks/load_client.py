"""What a request costs the load generator: KnoudsUser against FastHttpUser, and a scenario against both.

nginx answers a constant from one core, over HTTP and TLS; generators run on another, one after the other
in each round, with 50 keep-alive connections and a POST of JSON with a key. A scenario's user does all that
a process of ``knouds-harness load`` does for a run, but for sending its rows. Processor time counts: a rate
says more about the machine's other work. Run it on a Linux machine with two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knouds_harness.contract.operations import Action

if TYPE_CHECKING:  # only the generators import Locust
    from knouds_harness.load.users import KnoudsUser

GENERATOR_CORE, SERVER_CORE = 0, 1
CONNECTIONS = 50
PATH = "/api/workflows/portrait/run"
BODY = {"inputs": {"prompt": "a quiet harbour at dawn", "count": 1, "seed": 12345, "style": "watercolour"}}
HEADERS = {"x-api-key": "knouds_live_" + "a" * 32}
ANSWER = '{"success":true,"result":{"text":"hello"},"cost":3,"ms":12}'
SCENARIO = "ScenarioUser, runs"
GENERATORS = (
    ("FastHttpUser", "http"),
    ("KnoudsUser", "http"),
    (SCENARIO, "http"),
    ("FastHttpUser", "https"),
    ("KnoudsUser", "https"),
)
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl;
    location / {{ return 200 '{answer}'; }}
  }}
}}
"""


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument(
        "--only", help="a generator, to be measured in this process; used by the script itself"
    )
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.url, options.seconds)))
        return
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        sys.exit("nginx is not installed: apt-get install nginx")
    with serving() as (http, https):
        generators = [(name, https if scheme == "https" else http) for name, scheme in GENERATORS]
        results: dict[tuple[str, str], list[tuple[float, float]]] = {
            generator: [] for generator in generators
        }
        for _ in range(options.rounds):
            for generator in generators:
                results[generator].append(run(*generator, options.seconds))
    print(f"{platform.python_implementation()} {platform.python_version()}, {options.rounds} rounds")
    rounds_of = {}
    for (name, url), rounds in results.items():
        scheme = url.partition(":")[0]
        rounds_of[name, scheme] = rounds
        cost_us = statistics.median(cost for cost, _ in rounds)
        rate = statistics.median(rate for _, rate in rounds)
        spread = f"{min(cost for cost, _ in rounds):.1f} to {max(cost for cost, _ in rounds):.1f}"
        print(f"{name:22} {scheme:5} {cost_us:7.1f} µs ({spread})  {rate:9,.0f}/s")
    for title, dearer, cheaper, over in (
        ("KnoudsUser is cheaper than FastHttpUser", "FastHttpUser", "KnoudsUser", "http"),
        ("KnoudsUser is cheaper than FastHttpUser", "FastHttpUser", "KnoudsUser", "https"),
        ("guards, budget, samples and rows cost", SCENARIO, "KnoudsUser", "http"),
    ):
        ratio = statistics.median(  # of one round each, so that the machine's other work matters least
            first / second
            for (first, _), (second, _) in zip(rounds_of[dearer, over], rounds_of[cheaper, over], strict=True)
        )
        print(f"{title} ({over}): {ratio:.3f} x")


@contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """Nginx on one core; yields its plain and its encrypted address."""
    import trustme  # noqa: PLC0415 - the generators do without

    port, tls_port = 18480, 18481
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, tls_port=tls_port, answer=ANSWER))
        command = [
            "taskset",
            "-c",
            str(SERVER_CORE),
            shutil.which("nginx") or "/usr/sbin/nginx",
            "-c",
            str(config),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}"
        finally:
            process.terminate()
            process.wait()


def run(name: str, url: str, seconds: float) -> tuple[float, float]:
    """Measure one generator in a process of its own.

    Returns:
        Processor time per request in µs, and requests per second.
    """
    pinned = ["taskset", "-c", str(GENERATOR_CORE)]
    command = [*pinned, sys.executable, __file__, "--only", name, "--url", url, "--seconds", str(seconds)]
    cost_us, rate = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return cost_us, rate


def measure(name: str, url: str, seconds: float) -> tuple[float, float]:
    """Run a generator in this process; the first second does not count."""
    import gevent  # noqa: PLC0415 - only this process is patched

    count = scenario_users(url) if name == SCENARIO else plain_users(name, url)
    gevent.sleep(1.0)
    requests = count()
    before = resource.getrusage(resource.RUSAGE_SELF)
    gevent.sleep(seconds)
    requests = count() - requests
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s / requests * 1e6, requests / seconds


def plain_users(name: str, url: str) -> Callable[[], int]:
    """Start users of Locust alone, which counts their requests itself; return what tells how many."""
    from locust import FastHttpUser, constant, task  # noqa: PLC0415 - only the generators import Locust
    from locust.env import Environment  # noqa: PLC0415 - only the generators import Locust

    from knouds_harness.load.users import KnoudsUser  # noqa: PLC0415 - only the generators import Locust

    @task
    def post(user: KnoudsUser) -> None:
        user.client.post(PATH, json=BODY, headers=HEADERS, name="runWorkflow")

    base = FastHttpUser if name == "FastHttpUser" else KnoudsUser
    bench = type("Bench", (base,), {"host": url, "wait_time": constant(0), "insecure": True, "post": post})
    environment = Environment(user_classes=[bench], host=url)
    environment.create_local_runner().start(CONNECTIONS, spawn_rate=CONNECTIONS)

    def count() -> int:
        if environment.stats.total.num_failures:
            sys.exit(f"{name}: {environment.stats.total.num_failures} failures")
        return environment.stats.total.num_requests

    return count


def scenario_users(url: str) -> Callable[[], int]:
    """Start users of a scenario that runs a workflow, as a process that sends does; return the same."""
    import msgpack  # noqa: PLC0415 - as Locust sends messages
    from gevent.pool import Group  # noqa: PLC0415 - only the generators import Locust
    from locust.env import Environment  # noqa: PLC0415 - only the generators import Locust
    from locust.runners import Runner, WorkerRunner  # noqa: PLC0415 - only the generators import Locust

    from knouds_harness.load.arrivals.schedule import Share  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.collection.rows import RequestRow  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.collection.seconds import ROWS, now_unix_s  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.generator.generating_run import GeneratingRun  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.options import LoadOptions  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.scenario import ScenarioUser  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.tasks import run_workflow  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.workload.preflight import LoadSetup  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.load.workload.workload import Workload  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.targets.profile import Target  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.targets.resources import Limits, Persona, Workflow  # noqa: PLC0415 - only the generators import Locust
    from knouds_harness.targets.secrets import Secret  # noqa: PLC0415 - only the generators import Locust

    class Worker(WorkerRunner):
        """Packs what it hands over, and sends it to nobody."""

        worker_index, client_id, requests, last = 0, "here", 0, ()

        def __init__(self, environment: Environment) -> None:
            Runner.__init__(self, environment)

        def send_message(self, msg_type: str, data: Any = None, client_id: str | None = None) -> None:  # noqa: ANN401, ARG002
            msgpack.dumps(data)
            if msg_type == ROWS and data["rows"].requests:
                self.requests += len(data["rows"].requests)
                self.last = data["rows"].requests[-1]

    key = Persona(
        name="full",
        secret=Secret(HEADERS["x-api-key"], "key:full"),
        capabilities=frozenset({"workflow:run"}),
        user="ada",
        tier="enterprise",
    )
    portrait = Workflow(slug="portrait", owner="ada", inputs=BODY["inputs"], cost_credits=5.0)
    target = Target(
        name="bench",
        base_url=url,
        limits=Limits(credits=1e12, allow=frozenset(Action)),
        personas={key.name: key},
        workflows={portrait.slug: portrait},
    )
    members = {"host": url, "wait_time": lambda _: 0, "tasks": [run_workflow]}
    bench: Any = type("Bench", (ScenarioUser,), members)
    environment = Environment(user_classes=[bench], host=url)
    environment.runner = worker = Worker(environment)
    options = LoadOptions(target="bench", users=CONNECTIONS)
    workload = Workload(target, prices={})
    run = GeneratingRun(environment, LoadSetup(options=options, target=target, workload=workload))
    environment.events.test_start.fire(environment=environment)  # type: ignore[no-untyped-call]
    run.limits.budget.extend(1e12)
    run.take_share(now_unix_s(), Share())
    users = Group()
    for _ in range(CONNECTIONS):
        bench(environment).start(users)

    def count() -> int:
        run.seconds.hand_over()
        if RequestRow._make(worker.last).failure is not None:
            sys.exit(f"{SCENARIO}: {worker.last}")
        return worker.requests

    return count


if __name__ == "__main__":
    main()
