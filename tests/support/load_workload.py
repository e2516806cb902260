"""Parts of a load, hand-made without server or client: options, keys, targets, scenarios, responses."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from example_targets import make_key
from locust import between
from locust.argument_parser import get_empty_argument_parser, setup_parser_arguments
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.contract.operations import Action
from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.load.options import LoadOptions, add_options, read_options
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.accounts import InputLine
from knouds_harness.load.workload.workload import Workload
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.operation_load import RequestStatus
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Model, Persona, Workflow

RESET_UNIX_S = 1_764_063_060


def parsed(*arguments: str) -> Any:
    """Parse options of a load, together with Locust's own, as Locust does."""
    parser = get_empty_argument_parser(add_help=False, default_config_files=[])
    setup_parser_arguments(parser)  # type: ignore[no-untyped-call]
    add_options(parser)
    return parser.parse_args(arguments, env_vars={})


def options(*arguments: str) -> LoadOptions:
    return read_options(parsed(*arguments))


def persona(
    name: str = "pro",
    *,
    user: str = "pia",
    tier: str = "pro",
    capabilities: Collection[str] = ("workflow:run", "webhook:receive"),
    **options: Any,
) -> Persona:
    return make_key(name, user, tier=tier, capabilities=frozenset(capabilities), **options)


def target(
    *keys: Persona,
    workflows: Iterable[Workflow] = (),
    models: Iterable[Model] = (),
    limits: Limits | None = None,
) -> Target:
    """Make a profile that allows every action, with 1,000 credits."""
    return Target(
        name="staging",
        base_url="https://staging.example.com",
        personas={key.name: key for key in keys},
        workflows={each.slug: each for each in workflows},
        models={each.name: each for each in models},
        limits=limits or Limits(credits=1_000, allow=frozenset(Action)),
    )


def workload_of(
    where: Target,
    *,
    unknown: float | None = None,
    lines: Sequence[InputLine] | None = None,
    runs_each: bool = False,
) -> Workload:
    """Return the workload on a target, at the prices of its profile; other workflows cost ``unknown``."""
    prices = {} if unknown is None else dict.fromkeys(where.workflows, unknown)
    return Workload(where, prices=prices, lines=lines, runs_each=runs_each)


def scenario(*tasks: Callable[[Any], object], **members: Any) -> type[ScenarioUser]:
    return type("Scenario", (ScenarioUser,), {"tasks": list(tasks), "wait_time": between(1, 1), **members})


class Said:
    """What verification needs of any client's response."""

    def __init__(
        self,
        body: Any = None,
        *,
        status: int = 200,
        path: str = "/api/workflows/portrait/run",
        headers: Mapping[str, str] | None = None,
        elapsed_ms: float = 1.0,
    ) -> None:
        self.status_code = status
        self.url = f"http://127.0.0.1:8080{path}"
        self.headers = {"content-type": "application/json", **(headers or {})}
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.elapsed_ms = elapsed_ms
        self.body = body
        self.raw_body = self.content

    is_strict_json = True
    method = "POST"

    def json(self) -> Any:
        return json.loads(self.content)


def second_of(unix_s: int, *, took_s: float = 0.001, operation: str = "getWhoami", **counts: int) -> Second:
    """Return a second in which so many requests of an operation ended, by status."""
    second = Second(unix_s=unix_s)
    for status, count in counts.items():
        if count:
            histogram = second.histograms[SeriesKey(operation, RequestStatus(status))] = Histogram()
            histogram.record(took_s, count)
    return second


def limited(remaining: int, *, limit: int = 100, reset_unix_s: int = RESET_UNIX_S) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset_unix_s),
    }


def ran(remaining: int = 99, *, cost: float = 8, reset_unix_s: int = RESET_UNIX_S, **options: Any) -> Said:
    body = {"success": True, "result": {"images": ["https://cdn.example.com/1.png"]}, "cost": cost, "ms": 12}
    return Said(body, headers=limited(remaining, reset_unix_s=reset_unix_s), **options)


def throttled(retry_after_s: int = 30, *, reset_unix_s: int = RESET_UNIX_S) -> Said:
    body = {
        "error": "Too many.",
        "code": "RATE_LIMIT_EXCEEDED",
        "tier": "pro",
        "limit": 100,
        "retryAfter": retry_after_s,
    }
    headers = {**limited(0, reset_unix_s=reset_unix_s), "retry-after": str(retry_after_s)}
    return Said(body, status=429, headers=headers)


def polled(status: str, execution_id: str = "e-1") -> Said:
    return Said({"executionId": execution_id, "status": status}, path=f"/api/executions/{execution_id}")


def submitted(execution_id: str = "e-1") -> Said:
    return Said({"_async": True, "executionId": execution_id, "status": "processing"})


TOLD: dict[str, Any] = {
    "sent_unix_s": 1_780_000_000.0,
    "cpu_s": 0.0,
    "lags": [],
    "stalls": [],
    "waiting": [],
    "arrivals": None,
    "timer": "timerfd",
    "runs": 0,
    "spent_credits": 0.0,
}
"""What a process that sends tells of itself."""


class Remote:
    """What a run uses of Locust's distributed runners."""

    client_id, worker_index, user_count = "a", 3, 0
    greenlet = shape_greenlet = None

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        environment.runner = self  # type: ignore[assignment]  # as far as it is used
        self.clients = SimpleNamespace(ready=[], spawning=[], running=[])
        self.listeners: dict[str, Any] = {}
        self.sent: list[tuple[Any, ...]] = []
        self.did: list[str] = []

    def register_message(self, kind: str, listener: Any, **_: bool) -> None:
        self.listeners[kind] = listener

    def send_message(self, kind: str, data: Any = None, *worker: str) -> None:
        self.sent.append((kind, data, *worker))

    def hear(self, kind: str, worker: str = "", **data: Any) -> None:
        self.listeners[kind](msg=SimpleNamespace(node_id=worker, data=data))

    def have(self, *workers: str) -> None:
        self.clients.running = [SimpleNamespace(id=worker) for worker in workers]

    def take(self, kind: str) -> list[tuple[str, Any]]:
        """Return the messages of this kind since the last call, with their receivers."""
        found = [(worker, data) for sent, data, worker in self.sent if sent == kind]
        self.sent = [each for each in self.sent if each[0] != kind]
        return found

    def stop(self) -> None:
        self.did.append("stop")

    def quit(self) -> None:
        self.did.append("quit")


# Made like this because their methods have fewer arguments than Locust's.
FakeMaster: Any = type("FakeMaster", (Remote, MasterRunner), {})
FakeWorker: Any = type("FakeWorker", (Remote, WorkerRunner), {})
