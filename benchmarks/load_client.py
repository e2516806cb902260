"""What a request costs the load generator: KnoudsUser against FastHttpUser.

nginx answers a constant from one core, over HTTP and TLS; generators run on another, one after the other
in each round, with 50 keep-alive connections and a POST of JSON with a key. Processor time counts: a rate
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from knouds_harness.contract.operations import Action

if TYPE_CHECKING:  # only the generators import Locust
    from locust import User

    from knouds_harness.targets.profile import Target

GENERATOR_CORE, SERVER_CORE = 0, 1
CONNECTIONS = 50
PATH = "/api/workflows/portrait/run"
BODY = {"inputs": {"prompt": "a quiet harbour at dawn", "count": 1, "seed": 12345, "style": "watercolour"}}
HEADERS = {"x-api-key": "knouds_live_" + "a" * 32}
ANSWER = '{"success":true,"result":{"text":"hello"},"cost":3,"ms":12}'
GUARDED = "KnoudsUser, guarded"
GENERATORS = (
    ("FastHttpUser", "http"),
    ("KnoudsUser", "http"),
    (GUARDED, "http"),
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
        ("the buffer and guards cost", GUARDED, "KnoudsUser", "http"),
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
    import msgpack  # noqa: PLC0415 - as Locust sends messages
    from locust.env import Environment  # noqa: PLC0415

    from knouds_harness.load.collection.locust_statistics import use_exact_buckets  # noqa: PLC0415
    from knouds_harness.load.collection.rows import RequestRecorder  # noqa: PLC0415
    from knouds_harness.load.collection.seconds import HAND_OVER_EVERY_S  # noqa: PLC0415
    from knouds_harness.targets.profile import Target  # noqa: PLC0415
    from knouds_harness.targets.resources import Limits  # noqa: PLC0415

    if name == GUARDED:
        use_exact_buckets()  # before there is an environment, as in a Locust file
    target = Target(name="bench", base_url=url, limits=Limits(credits=1e12, allow=frozenset(Action)))
    environment = Environment(user_classes=[user_class(name, url, target)], host=url)
    runner = environment.create_local_runner()
    if name == GUARDED:
        recorder = RequestRecorder()
        environment.events.request.add_listener(recorder.on_request)  # type: ignore[no-untyped-call]

        def hand_over() -> None:
            while True:
                gevent.sleep(HAND_OVER_EVERY_S)
                msgpack.dumps(recorder.take())

        gevent.spawn(hand_over)
    runner.start(CONNECTIONS, spawn_rate=CONNECTIONS)
    gevent.sleep(1.0)
    requests = environment.stats.total.num_requests
    before = resource.getrusage(resource.RUSAGE_SELF)
    gevent.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    requests = environment.stats.total.num_requests - requests
    failures = environment.stats.total.num_failures
    runner.quit()
    if failures or not requests:
        sys.exit(f"{name}: {requests} requests, {failures} failures")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s / requests * 1e6, requests / seconds


def user_class(name: str, url: str, target: Target) -> type[User]:
    """The user of a generator."""
    from locust import FastHttpUser, constant, task  # noqa: PLC0415 - only the generators import Locust

    from knouds_harness.load.client.http_client import encode_head  # noqa: PLC0415
    from knouds_harness.load.users import KnoudsUser  # noqa: PLC0415
    from knouds_harness.load.workload.accounts import RunRequest  # noqa: PLC0415
    from knouds_harness.load.workload.limits import LoadLimits  # noqa: PLC0415
    from knouds_harness.targets.resources import Persona  # noqa: PLC0415
    from knouds_harness.targets.secrets import Secret  # noqa: PLC0415

    limits = LoadLimits(target)
    head = encode_head("POST", PATH, "here", HEADERS.items())
    added = {("Host", "here"), *HEADERS.items()}
    key = Persona(name="full", secret=Secret("", ""), capabilities=frozenset(), user="ada", tier="enterprise")
    run_request = RunRequest(
        operation="runWorkflow",
        name="portrait",
        path=PATH,
        inputs={},
        cost_credits=5.0,
        deadline_s=None,
        persona=key,
    )

    @task
    def post(user: KnoudsUser) -> None:
        user.client.post(PATH, json=BODY, headers=HEADERS, name="runWorkflow")

    @task
    def guarded(user: KnoudsUser) -> None:
        limits.admit(head, added=added, is_reserved=True)
        reserved = limits.reserve(run_request)
        response = user.client.post(PATH, json=BODY, headers=HEADERS, name="runWorkflow")
        limits.settle(reserved, response, run_request)

    base = FastHttpUser if name == "FastHttpUser" else KnoudsUser
    own = {"guarded": guarded} if name == GUARDED else {"post": post}
    return type("Bench", (base,), {"host": url, "wait_time": constant(0), "insecure": True, **own})


if __name__ == "__main__":
    main()
