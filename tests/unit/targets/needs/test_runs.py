"""Which run a check gets if several would do: a free run shows no charge."""

from dataclasses import replace

import pytest
from example_targets import make_key, offering

from knouds_harness.targets.needs import KeyAndResource
from knouds_harness.targets.needs.runs import (
    CANCELLED_RUN,
    CHARGED_ASYNC_RUN,
    CHARGED_CANCELLED_RUN,
    LAST_CREDITS,
    charged_first,
)
from knouds_harness.targets.needs.webhooks import runs_without_webhook
from knouds_harness.targets.resources import Workflow

EVERYTHING = frozenset(("workflow:*", "execution:*", "webhook:receive"))


def key(name, **more):
    return make_key(name, **{"capabilities": EVERYTHING, **more})


def target(*keys, **costs):
    """Return a target with these keys, and with polled workflows of their account at these costs."""
    workflows = [
        Workflow(slug=slug, owner="ada", polled=True, cost_credits=cost) for slug, cost in costs.items()
    ]
    return offering(*keys, workflows=workflows)


def chosen(need, offered):
    """Return the name of what a need finds in a profile."""
    found = need.find(offered)
    return found and found.resource.name


def test_charges_are_looked_for_in_the_cheapest_run_that_costs_something():
    offered = target(key("full"), free=0.0, dear=40.0, cheap=4.0)

    assert chosen(CHARGED_CANCELLED_RUN, offered) == "cheap"
    assert chosen(charged_first(CANCELLED_RUN), offered) == "cheap"


def test_charge_of_an_asynchronous_run_is_looked_for_where_several_units_are_made():
    """A server that charges one image, however many are made, is right about one."""
    offered = target(key("full"), dear=40.0, cheap=4.0)
    dear = replace(offered.workflows["dear"], inputs={"num_images": 2, "is_hd": True})
    of_several = replace(offered, workflows={**offered.workflows, "dear": dear})

    assert chosen(CHARGED_ASYNC_RUN, offered) == "cheap"
    assert chosen(CHARGED_ASYNC_RUN, of_several) == "dear"


def test_charges_of_free_runs_are_not_tested():
    offered = target(key("full"), free=0.0)

    assert CHARGED_CANCELLED_RUN.missing(offered)
    assert chosen(charged_first(CANCELLED_RUN), offered) == "free"


def test_last_credits_are_spent_on_what_they_suffice_for():
    offered = target(key("poor", credits=3), dear=24.0, free=0.0, cheap=2.0)

    assert chosen(LAST_CREDITS, offered) == "cheap"


@pytest.mark.parametrize(("cost", "running"), [(0.0, ["runner", "full"]), (4.0, ["runner"])])
def test_key_without_the_capability_comes_first_among_those_without_a_webhook(cost, running):
    """What costs nothing is run by several keys."""
    runner = key("runner", capabilities=EVERYTHING - {"webhook:receive"})
    receiving = key("receiving", webhook=True)
    offered = target(key("full"), receiving, runner, workflow=cost)
    own = KeyAndResource(receiving, offered.workflows["workflow"])

    assert [each.key.name for each in runs_without_webhook(offered, own)] == running
