"""What a plan pays for is what is asked for: no night spends more than it plans, or lacks what is paid."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from example_targets import sandbox_target
from hypothesis import given
from hypothesis import strategies as st
from recorded import recording

from knouds_harness.suite.nights import Nights
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.selection import Spending, facts_of, needs_of, shown_by_any_answer
from knouds_harness.suite.support import webhook_executions
from knouds_harness.suite.support.execution_traces import Executions
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.support.webhook_executions import DeliveredExecutions
from knouds_harness.suite.untested import Untested, untested_for
from knouds_harness.targets.needs import missing_in
from knouds_harness.targets.resources import Model, Webhook
from knouds_harness.targets.secrets import Secret

SANDBOX = sandbox_target()
SUBMITTED = recording("runModel-202-accepted").exchange
ENDED = recording("getExecution-200-completed").exchange
ESTIMATE = 7.0
"""What the server says that a run costs, where the profile does not."""
OF_EXECUTIONS = (
    *("of_any", "of_workflow", "of_failing", "samples", "submits", "cancelled_samples"),
    *("left_alone", "ended", "watched", "cancelled_if_any"),
)


def price(resource):
    if resource.cost_credits is None:
        return None if isinstance(resource, Model) else ESTIMATE * resource.has_generator
    return resource.cost_credits


@st.composite
def profiles(draw):
    """Profiles of some keys and resources of the sandbox at drawn prices.

    Where no key can be made, some have a webhook.
    """

    def drawn(resource):
        costs = st.sampled_from((None, 1, 3, 12, 19, 30))
        has_generator = getattr(resource, "has_generator", True)
        return replace(
            resource,
            cost_credits=draw(costs) if has_generator else draw(st.sampled_from((None, 0))),
            polled=draw(st.booleans()) or resource.polled,
            fails=draw(st.booleans()) and resource.fails,
        )

    def some(named):
        return {name: each for name, each in named.items() if draw(st.integers(0, 4))}

    mints = draw(st.booleans())
    keys = some(SANDBOX.personas)
    if not mints:
        keys = {name: replace(key, webhook=draw(st.booleans())) for name, key in keys.items()}
    webhook = Webhook(url="http://127.0.0.1:1/", secret=Secret("whsec_" + "x" * 20, "w"), deadline_s=0.0)
    return replace(
        SANDBOX,
        control=SANDBOX.control if mints else None,
        webhook=None if mints else replace(webhook, listen="127.0.0.1:1"),
        personas=keys,
        workflows={name: drawn(each) for name, each in some(SANDBOX.workflows).items()},
        models={name: drawn(each) for name, each in some(SANDBOX.models).items()},
    )


class Runs(TestData):
    """Test data of a target where every run succeeds; adds up what is run."""

    def __init__(self, target, unpaid):
        def need(asked):
            if asked.missing(target) is not None:
                raise untested_for(asked, profile=target)
            return asked.find(target)

        tester: Any = SimpleNamespace(
            target=target,
            client=SimpleNamespace(target=target),
            need=need,
            price=price,
            minted=lambda capabilities, *, account, **_: replace(
                next(each for each in target.personas.values() if each.user == account),
                capabilities=capabilities,
            ),
            send=lambda *_: ENDED,
            wait=lambda _: None,
            idle=nullcontext,
        )
        super().__init__(tester, unpaid=unpaid)
        self.spent_credits = 0.0

    def run(self, resource, *_, **__):
        self.spent_credits += price(resource) or 0.0
        return SUBMITTED


RECEIVER: Any = SimpleNamespace(
    deliveries=(), refuse_first=lambda _: None, url=lambda path: path, wait_until=lambda *_, **__: False
)


@pytest.fixture(scope="module")
def suite():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhook_executions, "_MINTED_DEADLINE_S", 0.0)  # no delivery comes
        yield collect_suite()


def marks(item, name):
    return list(item.iter_markers(name))


def asked_of(shared, names):
    """Ask for each of these; return those that the profile or the credits do not allow."""
    untested = set()
    for name in names:
        try:
            getattr(shared, name)
        except Untested:
            untested.add(name)
    return untested


@given(target=profiles(), limit_credits=st.integers(0, 60), order=st.permutations(OF_EXECUTIONS))
def test_what_tests_share_is_run_exactly_if_it_is_paid(suite, target, limit_credits, order):
    """Whichever test first asks for it, and whatever each test looks at besides."""
    possible = [item for item in suite if not missing_in(target, needs_of(item))]
    sharing = [item for item in possible if marks(item, "shares") and not marks(item, "spends")]
    spending = Spending.of(sharing, target, price, limit_credits=limit_credits)
    test_data = Runs(target, spending.unpaid_parts)
    executions = Executions(test_data.tester, test_data)

    asked_of(executions, order)
    asked_of(DeliveredExecutions(test_data.tester, executions, RECEIVER), ["ended"])

    assert test_data.spent_credits == spending.cost_credits <= limit_credits


def facts_shown(items):
    return {fact for item in items for fact in facts_of(item)}


@given(target=profiles(), limit_credits=st.integers(0, 60))
def test_nights_pay_for_each_fact_that_one_of_them_can_pay_for(suite, target, limit_credits):
    """None plans more than it may spend; a test is paid for exactly if all that it runs is."""
    possible, nights = [item for item in suite if not missing_in(target, needs_of(item))], Nights()
    for number in range(4):
        plan = Spending.of(possible, target, price, limit_credits=limit_credits, nights=nights)
        assert plan.cost_credits <= limit_credits
        ran = [item for item in possible if item.nodeid not in plan.unpaid]
        verified = facts_shown(ran)
        day = date(2026, 11, 24) + timedelta(number)
        again = Spending.of(ran, target, price, limit_credits=limit_credits)
        assert not again.unpaid
        nights = nights.with_night(day, paid=plan.paid, verified=verified, broken=())
    never = facts_shown(possible) - nights.verified.keys() - shown_by_any_answer()
    assert plan.beyond.keys() <= never


@given(target=profiles())
def test_test_of_a_need_pays_for_what_meets_it(suite, target):
    """Not for what meets another one."""
    for item in suite:
        need = item.callspec.params.get("need") if hasattr(item, "callspec") else None
        found = need.find(target) if need and not missing_in(target, needs_of(item)) else None
        resource = getattr(getattr(found, "own", found), "resource", None)
        runs = [run for marker in marks(item, "spends") for run in marker.args[0](target)]
        assert not runs or resource in (None, *runs), item.nodeid
