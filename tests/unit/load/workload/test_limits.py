"""Limits of the profile, in each process of a load run."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from load_workload import FakeWorker, Said, persona, scenario, workload_of
from load_workload import target as profile
from locust.env import Environment
from lying_server import KEYS, PRICE, lying_server

from knouds_harness.contract.operations import Action
from knouds_harness.errors import GuardStop
from knouds_harness.load import messages
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.client.http_client import complete, encode_head
from knouds_harness.load.client.response import Response
from knouds_harness.load.tasks import run_cheapest
from knouds_harness.load.workload import limits as limits_module
from knouds_harness.load.workload.limits import LeasedCredits, LoadLimits
from knouds_harness.load.workload.preflight import run_preflight
from knouds_harness.targets.budget import credits_of
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Workflow
from knouds_harness.targets.secrets import Secret


def target(**limits) -> Target:
    return Target(
        name="staging",
        base_url="http://127.0.0.1:1",
        limits=Limits(**limits),
        source=Path("targets/staging.toml"),
    )


def run_request(cost_credits: float) -> Any:
    persona = SimpleNamespace(user="ada", credits="enough")
    return SimpleNamespace(operation="runModel", cost_credits=cost_credits, persona=persona)


class Granting(FakeWorker):  # type: ignore[misc]  # which is Any
    """A worker whose leading process has some credits, and answers at once."""

    def __init__(self, *, master_has: float) -> None:
        super().__init__(Environment())
        self.master_has = master_has
        self.asked: list[float] = []

    def send_message(self, kind: str, data: Any = None, *_: str) -> None:
        if kind == messages.ASK_CREDITS:
            self.asked.append(data["needed"])
            wanted = max(data["needed"], 5)
            granted = wanted if wanted <= self.master_has else 0.0
            self.master_has -= granted
            self.hear(messages.CREDITS, granted=granted)


def leased(*, master_has: float, **limits: Any) -> LoadLimits:
    return LoadLimits(target(**limits), lease=LeasedCredits(Granting(master_has=master_has)))


def test_action_outside_the_limits_is_refused():
    limits = LoadLimits(target(allow={Action.READ}))

    with pytest.raises(GuardStop, match="does not allow"):
        admit(limits, "POST", "/api/workflows")


KEY = ("x-api-key", "knouds_live_0123456789abcdef")
HOST = ("Host", "127.0.0.1:1")


def admit(limits, method, path):
    limits.admit(encode_head(method, path, HOST[1], [KEY]), added={KEY, HOST})


def admitted_bytes(limits, method, path, *headers):
    body = None if method in ("GET", "HEAD") else b"{}"
    head = encode_head(method, path, HOST[1], [KEY, ("User-Agent", "mine"), *headers])
    limits.admit_bytes(complete(head, method, body), added={KEY, HOST})


@pytest.mark.parametrize("path", ["/api/whoami", "/api/usage?limit=5", "/api/workflows/mine"])
def test_client_of_a_task_sends_documented_reads(path):
    admitted_bytes(LoadLimits(target()), "GET", path)


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("POST", "/api/workflows", ()),
        ("PUT", "/api/workflows/mine", ()),
        ("DELETE", "/api//workflows/%6dine", ()),
        ("POST", "/api/workflows/mine/run", ()),
        ("POST", "/API/Models/nano-banana-2/run/?async=true", ()),
        ("POST", "/api/executions/of-somebody/cancel", ()),
        ("GET", "/api/workflows/mine?_method=DELETE", ()),
        ("GET", "/api/admin/wipe", ()),
        ("GET", "/api/whoami", ("X-HTTP-Method-Override", "DELETE")),
        ("GET", "/api/whoami", ("X-Original-URL", "/api/workflows/mine")),
        ("GET", "/api/whoami", ("Host", "elsewhere.example")),
    ],
)
def test_client_of_a_task_runs_and_changes_nothing(method, path, header):
    """Whatever the profile allows: nothing is reserved, and what would be created is not noted."""
    limits = LoadLimits(target(allow=frozenset(Action), credits=100))

    with pytest.raises(GuardStop):
        admitted_bytes(limits, method, path, *([header] if header else []))


def test_client_of_a_task_keeps_the_rate_of_the_profile():
    limits = LoadLimits(target(requests_per_s=20))
    began = time.monotonic()

    for _ in range(3):
        admitted_bytes(limits, "GET", "/api/whoami")

    assert time.monotonic() - began > 0.09


def test_base_path_of_the_target_is_no_part_of_the_path():
    limits = LoadLimits(replace(target(), base_url="http://127.0.0.1:1/v2"))

    admitted_bytes(limits, "GET", "/v2/api/whoami")


def test_query_that_hides_a_parameter_in_a_value_is_not_taken_for_one_that_was_admitted():
    limits = LoadLimits(target())
    admit(limits, "GET", "/api/usage?modelId=a")

    with pytest.raises(GuardStop):
        admit(limits, "GET", "/api/usage?modelId=a%26_method=DELETE")


def test_same_head_is_judged_once(monkeypatch):
    """What is remembered are the bytes themselves, so that others are never taken for them."""
    judged: list[str] = []
    monkeypatch.setattr(limits_module, "check_effect", lambda *_, what, **__: judged.append(what))
    limits = LoadLimits(target())

    for path in ("/api/whoami", "/api/whoami", "/api/usage", "/api/whoami"):
        admit(limits, "GET", path)
        admitted_bytes(limits, "GET", f"{path}?limit=1", ("traceparent", f"{len(judged)}"))

    assert judged == ["GET /api/whoami", "GET /api/whoami", "GET /api/usage", "GET /api/usage"]


def test_worker_sends_nothing_before_it_has_a_share():
    limits = leased(master_has=0, requests_per_s=1000)
    sending = gevent.spawn(admit, limits, "GET", "/api/whoami")
    gevent.sleep(0)
    assert not sending.ready()

    limits.pace(Share(index=0, workers=4), since=time.monotonic())

    sending.get(timeout=5)


def test_run_uses_credits_granted_by_the_master():
    limits = leased(master_has=10)

    reserved = [limits.reserve(run_request(4)) for _ in range(2)]

    assert [credits_of(each) for each in reserved] == [4, 4]
    with pytest.raises(GuardStop, match="may cost 4 credits"):
        limits.reserve(run_request(4))


def test_each_run_checks_if_more_credits_are_needed():
    worker = Granting(master_has=100)
    limits = LoadLimits(target(), lease=LeasedCredits(worker))

    for _ in range(2):
        limits.reserve(run_request(2))

    assert worker.asked == [2, 0]  # for the first, and as half of what was granted is used


def answered(status_code: int, body: object) -> Any:
    return Said(body, status=status_code)


THROTTLED = {"error": "Slow down", "code": "RATE_LIMIT_EXCEEDED"}


@pytest.mark.parametrize(
    ("status_code", "body", "spent"),
    [
        (200, {"success": True, "cost": 3}, 3),
        (200, {"success": True, "cost": 0}, 5),
        (200, b'{"success": true, "cost": 3, "cost": 1}', 5),
        (200, b'{"success": true, "cost": 3, "c\\u006fst": 1}', 5),
        (202, {"_async": True, "executionId": "e"}, 5),
        (429, THROTTLED, 5),
        (429, THROTTLED, 0),
        (402, {"error": "Too poor", "code": "INSUFFICIENT_CREDITS"}, 5),
        (403, {"message": "no"}, 5),
        (403, b"", 5),
        (302, {"error": ""}, 5),
        (500, {"error": ""}, 5),
        (0, b"", 5),
    ],
)
def test_run_is_settled_by_its_response(status_code, body, spent):
    limits, told = LoadLimits(target(credits=10)), answered(status_code, body)

    limits.settle(limits.reserve(run_request(5)), told, run_request(5), may_be_throttled=spent == 0)

    assert limits.budget.spent_credits == spent


def test_run_counts_in_full_if_its_response_is_not_encoded_as_it_says():
    limits, response = LoadLimits(target(credits=10)), Response()
    body = b'{"success": true, "cost": 3}'
    response.fill(200, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + body, 0, body)

    limits.settle(limits.reserve(run_request(5)), response, run_request(5))

    assert limits.budget.spent_credits == 5


@pytest.mark.parametrize("is_leased", [False, True])
def test_run_over_the_limit_is_the_last(is_leased):
    limits = leased(master_has=5, credits=5) if is_leased else LoadLimits(target(credits=5))
    with pytest.raises(GuardStop):
        limits.settle(limits.reserve(run_request(5)), answered(200, {"cost": 6}), run_request(5))

    with pytest.raises(GuardStop, match=r"^runModel: charged 6 credits"):
        limits.reserve(run_request(0))


def test_runs_before_the_load_count():
    """A server may run, and charge, the requests with which the harness checks the profile."""

    def runs_everything(server, request, honest):
        return honest(replace(request, body=b'{"inputs": {}}'))

    with lying_server(runs_everything) as server:
        key = persona("full", tier="business", capabilities=("workflow:portrait:run", "workflow:read"))
        target = profile(
            replace(key, secret=Secret(KEYS["full"], "key:full")),
            workflows=[Workflow(slug="portrait", owner="pia", cost_credits=PRICE)],
            limits=Limits(credits=10, allow=frozenset(Action)),
        )
        target = replace(target, base_url=server.base_url)
        ahead = run_preflight(target, workload_of(target), [scenario(run_cheapest)], yes_production=False)
        limits = LoadLimits(target, ahead=ahead)

        with pytest.raises(GuardStop, match="4 of 10 are left"):
            limits.reserve(run_request(PRICE))

        limits.conclude()
        assert server.charges == [PRICE]


@pytest.fixture
def worker() -> Any:
    worker = FakeWorker(Environment())
    worker.sent.clear()
    return worker


@pytest.fixture
def lease(worker) -> LeasedCredits:
    return LeasedCredits(worker)


def test_run_is_not_sent_if_no_credits_are_granted(lease, worker):
    getting = gevent.spawn(lease.get_credits, 3, what="a run")
    gevent.sleep(0)

    worker.hear(messages.CREDITS, granted=0)

    assert not getting.get(timeout=5)


def test_concurrent_needs_for_credits_are_one_request(lease, worker):
    """And all can be met once it is granted."""
    getting = [gevent.spawn(lease.get_credits, 3, what="a run") for _ in range(5)]
    gevent.sleep(0)
    assert worker.sent == [(messages.ASK_CREDITS, {"needed": 3, "what": "a run"})]

    worker.hear(messages.CREDITS, granted=20)

    gevent.joinall(getting, timeout=5)
    assert all(each.value for each in getting)
    assert lease.budget.left_credits == 20


def test_credits_are_requested_before_they_run_out(lease, worker):
    """Once half of the last grant is spent, and not again before the answer."""
    lease.ask_ahead()
    worker.hear(messages.CREDITS, granted=10)
    worker.sent.clear()

    lease.budget.reserve(4)
    lease.ask_ahead()
    assert worker.sent == []
    lease.budget.reserve(2)
    lease.ask_ahead()
    lease.ask_ahead()

    assert worker.sent == [(messages.ASK_CREDITS, {"needed": 0.0, "what": ""})]
