"""When a rate-limit window may be filled, and what that costs."""

import pytest
from example_targets import make_key, offering

from knouds_harness.contract.operations import Action
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW, limited_runs
from knouds_harness.targets.resources import Control, Limits, Workflow
from knouds_harness.targets.secrets import Secret

RUNS = frozenset({"workflow:run"})
READS = RUNS | {"workflow:read"}
MAKES = RUNS | {"workflow:read", "workflow:write"}
PAID = Workflow(slug="paid", owner="pia", cost_credits=8)
FREE = Workflow(slug="free", owner="pia", has_generator=False)
ZERO = Workflow(slug="zero", owner="pia", cost_credits=0)
FOREIGN = Workflow(slug="foreign", owner="ada", has_generator=False)


def target(*workflows, capabilities=RUNS, allow=(Action.RUN,), fills=None, tier="pro", has_control=False):
    return offering(
        make_key("pro", "pia", capabilities=capabilities, tier=tier),
        workflows=workflows,
        limits=Limits(allow=frozenset(allow), fill_rate_windows=fills),
        control=Control(secret=Secret("token", "token")) if has_control else None,
    )


@pytest.mark.parametrize(
    ("offered", "is_filled", "paid_runs"),
    [
        (target(FREE, capabilities=READS), True, 0),
        (target(ZERO), True, 0),
        (target(PAID, FREE), True, 0),
        (target(PAID), False, 104),
        (target(FOREIGN), False, 0),
        (target(PAID, capabilities=MAKES, allow=(Action.RUN, Action.WRITE)), True, 0),
        (target(PAID, capabilities=MAKES), False, 104),
        (target(PAID, allow=(Action.RUN, Action.WRITE)), False, 104),
        (target(PAID, fills=True), True, 104),
        (target(fills=True), False, 0),
        (target(FREE, fills=False), False, 0),
        (target(FREE, capabilities=READS, fills=False, has_control=True), True, 0),
        (target(FREE, tier="business"), False, 0),
    ],
)
def test_window_is_filled_if_free_or_allowed(offered, is_filled, paid_runs):
    """Free runs need no permission, paid ones do; filling that takes real time can be forbidden.

    The cost must be in the profile, or a key must be able to read the workflow.
    """
    assert bool(FILLABLE_WINDOW.find(offered)) == is_filled
    assert len(limited_runs(104)(offered)) == paid_runs
