"""The control plane: closed without a token, and exact with one."""

import hmac
from unittest import mock

import httpx
import pytest
from clocks import wait_until

from knouds_sandbox.providers import Latency
from knouds_sandbox.seeding import key_secret
from knouds_sandbox.serving import running_sandbox
from knouds_sandbox.state import run_records

PATHS = [
    *(("POST", f"/__sandbox__/{name}") for name in ("keys", "accounts", "clock", "reset")),
    ("GET", "/__sandbox__/state"),
]
RUN = {"inputs": {"prompt": "a lighthouse"}}


@pytest.fixture
def control(ask, shared_sandbox):
    headers = {"x-sandbox-token": shared_sandbox.control_token}
    return lambda path, body: ask("POST", f"/__sandbox__/{path}", headers=headers, json=body)


def test_control_plane_is_off_without_a_token():
    with running_sandbox() as sandbox, httpx.Client(base_url=sandbox.base_url) as client:
        answers = [client.request(*path, headers={"x-sandbox-token": ""}, json={}) for path in PATHS]

    assert [answer.json()["code"] for answer in answers] == ["NOT_FOUND"] * 5


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token_is_refused(ask, assert_refused, path, token):
    assert_refused(ask(*path, "admin", headers={"x-sandbox-token": token}, json={}), 401, "UNAUTHORIZED")


def test_token_is_compared_in_constant_time(control):
    with mock.patch.object(hmac, "compare_digest", wraps=hmac.compare_digest) as compare:
        control("clock", {"advance_s": 0})

    compare.assert_called_once_with(b"test-token", b"test-token")


@pytest.mark.parametrize(("state", "code"), [("revoked", "UNAUTHORIZED"), ("legacy", "LEGACY_KEY_RETIRED")])
def test_minted_key_may_be_revoked_or_legacy(ask, assert_refused, mint, state, code):
    assert_refused(ask("GET", "/api/whoami", headers=mint(state=state)), 401, code)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys", {"account": "ada"}),
        ("keys", {"account": "ada", "capabilities": "workflow:read"}),
        ("keys", {"account": "ada", "capabilities": ["workflow:read model:run"]}),
        ("keys", {"account": "ada", "capabilities": [], "state": "asleep"}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": "http://x"}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "ftp://x"}}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "http://"}}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "http://x", "secret": "short"}}),
        ("keys", []),
        ("accounts", {}),
        ("accounts", {"tier": "pro", "role": "king"}),
        ("accounts", {"tier": "pro", "credits": 1.5}),
        ("accounts", {"tier": "pro", "credits": 10**30}),
        ("accounts", {"tier": "pro", "grant": -1}),
        ("accounts", {"tier": "pro", "name": "ada"}),
        ("clock", {}),
        ("clock", {"advance_s": -1}),
        ("clock", {"advance_s": True}),
        ("reset", {"seed": "7"}),
        ("reset", {"seed": True}),
        ("reset", {"seed": 2**63}),
    ],
)
def test_invalid_control_request_is_refused(control, assert_refused, path, body):
    assert_refused(control(path, body), 400, "INVALID_BODY")


def test_key_of_an_unknown_account_is_refused(control, assert_refused):
    assert_refused(control("keys", {"account": "nobody", "capabilities": []}), 404, "NOT_FOUND")


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://0xa.1/", "http://[fe80::1]/"])
def test_private_receiver_is_refused(control, assert_refused, url):
    body = {"account": "ada", "capabilities": [], "webhook": {"url": url}}

    assert "private address" in assert_refused(control("keys", body), 400, "INVALID_BODY")["error"]


@pytest.fixture
def fresh_sandbox():
    latency = Latency(time_scale=0.1)
    with running_sandbox(seed=7, control_token="test-token", prefer=True, latency=latency) as sandbox:
        yield sandbox


@pytest.fixture
def fresh(fresh_sandbox):
    headers = {"x-sandbox-token": fresh_sandbox.control_token, "x-api-key": fresh_sandbox.keys["full"]}
    with httpx.Client(base_url=fresh_sandbox.base_url, headers=headers) as client:
        yield client


def state(client):
    return client.get("/__sandbox__/state").json()


def test_reset_restores_the_seeded_state(fresh, fresh_sandbox):
    """Nothing is left in flight or ended, and the keys are the same."""
    before = state(fresh)
    submit = {"url": "/api/workflows/sunset-clip/run?async=true", "json": {"inputs": {}}}
    fresh.post("/api/workflows", json={"name": "Mine"})
    fresh.delete("/api/workflows/portrait")
    in_flight = fresh.post(**submit).json()["pollUrl"]

    answer = fresh.post("/__sandbox__/reset", json={})

    assert answer.json() == {"seed": 7, "keys": fresh_sandbox.keys}
    assert state(fresh) == before
    assert fresh.get("/api/workflows/portrait").status_code == 200
    assert fresh.get(in_flight).status_code == 404
    again = fresh.post(**submit).json()["pollUrl"]
    wait_until(lambda: fresh.get(again).json()["status"] == "completed")


def test_clock_of_one_account_leaves_the_others_alone(fresh, fresh_sandbox):
    """A run opens a window, which is over where the clock has been moved past its end."""

    def left():
        runs = [
            fresh.post(
                "/api/models/claude-sonnet/run", headers={"x-api-key": fresh_sandbox.keys[name]}, json=RUN
            )
            for name in ("business", "few")
        ]
        return [int(run.headers["x-ratelimit-remaining"]) for run in runs]

    before = left()
    moved = fresh.post("/__sandbox__/clock", json={"advance_s": 60, "account": "bea"})

    assert moved.status_code == 200
    assert left() == [before[0], before[1] - 1]


def test_reset_to_another_seed_makes_other_keys(fresh):
    keys = fresh.post("/__sandbox__/reset", json={"seed": 8}).json()["keys"]

    found = [fresh.get("/api/whoami", headers=each).status_code for each in ({}, {"x-api-key": keys["full"]})]
    assert (keys["full"], found) == (key_secret(8, "full"), [401, 200])


def test_old_runs_are_forgotten(fresh, monkeypatch):
    monkeypatch.setattr(run_records, "KEPT_RUNS", 20)
    monkeypatch.setattr(run_records, "_FORGOTTEN_AT_ONCE", 5)
    before = state(fresh)["runs"]
    submit = "/api/workflows/sunset-clip/run?async=true"
    in_flight = fresh.post(submit, json={"inputs": {}}, headers={"prefer": "execution=processing"}).json()

    for _ in range(40):
        fresh.post("/api/workflows/no-generator/run", json={"inputs": {}})

    assert before < 20
    assert state(fresh)["runs"] <= 20 + 5 + 1
    assert fresh.get(in_flight["pollUrl"]).json()["status"] == "processing"
