"""Fixed windows of 60 s, per user and per route."""

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.access.rate_limits import RateLimiter
from knouds_sandbox.envelopes import Refusal
from knouds_sandbox.fault_points import ActiveEdits
from knouds_sandbox.state.accounts import Account, Key


def key(tier="pro", *, name="pia", key_id=1, role="user"):
    account = Account(id=name, name=name, email="", role=role, tier=tier, is_approved=True)
    return Key(
        id=key_id,
        name="",
        secret="",
        capabilities=frozenset(),
        state="active",
        webhook_url=None,
        account=account,
    )


@pytest.fixture
def clock():
    return Clock(1_800_000_000.25)


@pytest.fixture
def limiter(clock):
    return RateLimiter(now_unix_s=clock, edits=ActiveEdits())


@pytest.mark.parametrize(
    ("tier", "limit"), [("pro", 100), ("business", 1000), ("custom", 100), ("free", 100)]
)
def test_limit_is_the_tiers(limiter, tier, limit):
    remaining = [int(limiter.take(key(tier), "run")["X-RateLimit-Remaining"]) for _ in range(limit)]

    assert remaining == list(range(limit - 1, -1, -1))
    with pytest.raises(Refusal):
        limiter.take(key(tier), "run")


def test_unlimited_accounts_get_no_headers(limiter):
    assert limiter.take(key("enterprise"), "run") == {}
    assert limiter.take(key("pro", role="admin"), "run") == {}


def test_refusal_says_when_to_come_back(limiter, clock):
    """Body and headers agree, and after retryAfter the window is a new one."""
    for _ in range(100):
        limiter.take(key(), "run")
    clock.now_s += 12
    with pytest.raises(Refusal) as refusal:
        limiter.take(key(), "run")

    assert (refusal.value.status, refusal.value.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert refusal.value.context == {"tier": "pro", "limit": 100, "retryAfter": 48}
    assert refusal.value.headers == {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1800000060",
        "Retry-After": "48",
    }
    clock.now_s += 48
    assert limiter.take(key(), "run")["X-RateLimit-Remaining"] == "99"


def test_bucket_is_the_users_and_the_routes(limiter):
    """Two keys of one user share a bucket; two routes or two users do not."""
    limiter.take(key(key_id=1), "runWorkflow")

    assert limiter.take(key(key_id=2), "runWorkflow")["X-RateLimit-Remaining"] == "98"
    assert limiter.take(key(key_id=1), "runModel")["X-RateLimit-Remaining"] == "99"
    assert limiter.take(key(name="other"), "runWorkflow")["X-RateLimit-Remaining"] == "99"


@given(steps=st.lists(st.floats(0, 30), max_size=400))
def test_no_window_takes_more_than_the_limit(steps):
    clock = Clock(1_800_000_000.25)
    limiter = RateLimiter(now_unix_s=clock, edits=ActiveEdits())
    passed: dict[str, int] = {}
    for step in steps:
        clock.now_s += step / 100
        try:
            reset = limiter.take(key(), "run")["X-RateLimit-Reset"]
        except Refusal:
            continue
        passed[reset] = passed.get(reset, 0) + 1

    assert all(count <= 100 for count in passed.values())


def test_control_plane_moves_the_window(ask, shared_sandbox):
    body: dict[str, object] = {"inputs": {}}
    for _ in range(100):
        ask("POST", "/api/workflows/unknown/run", "pro", json=body)
    assert ask("POST", "/api/workflows/unknown/run", "pro-second", json=body).status_code == 429

    headers = {"x-sandbox-token": shared_sandbox.control_token}
    ask("POST", "/__sandbox__/clock", headers=headers, json={"advance_s": 60})

    assert ask("POST", "/api/workflows/unknown/run", "pro", json=body).status_code == 404
