"""A window admits as many requests as the tier allows, and never more."""

from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.access.rate_limits import RateLimiter
from knouds_sandbox.bodies import Refusal
from knouds_sandbox.fault_points import ActiveEdits
from knouds_sandbox.state.accounts import Account, Key

ACCOUNT = Account(id="pia", name="pia", email="", role="user", tier="pro", is_approved=True)
KEY = Key(
    id=1, name="", secret="", capabilities=frozenset(), state="active", webhook_url=None, account=ACCOUNT
)


@given(steps=st.lists(st.floats(0, 30), max_size=400))
def test_no_window_admits_more_than_the_limit(steps):
    clock = Clock(1_800_000_000.25)
    limiter = RateLimiter(now_unix_s=clock, edits=ActiveEdits())
    passed: dict[str, int] = {}
    for step in steps:
        clock.now_s += step / 100
        try:
            reset = limiter.take(KEY, "run")["X-RateLimit-Reset"]
        except Refusal:
            continue
        passed[reset] = passed.get(reset, 0) + 1

    assert all(count <= 100 for count in passed.values())
