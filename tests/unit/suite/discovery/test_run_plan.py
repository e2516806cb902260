"""What facts need, derived from the tests that show them."""

from dataclasses import replace

import pytest
from example_targets import make_target

from knouds_harness.contract.document import shipped_document
from knouds_harness.suite.discovery.run_plan import missing_by_need, provable_facts, ways_by_fact

WAYS = ways_by_fact()
WITHOUT_KEYS = replace(make_target(), personas={}, workflows={}, models={}, webhook=None, control=None)
NEVER_SHOWN = {
    "ground.additive-change-is-legal",
    "ground.body-needs-json-content-type",
    "tier.free-has-no-key-access",
    "tier.creator-has-no-key-access",
}


def test_every_shown_fact_has_a_way():
    assert shipped_document().facts.keys() - WAYS.keys() == NEVER_SHOWN
    assert all(WAYS.values())


def test_facts_without_needs_are_those_shown_without_a_key():
    assert {fact for fact, ways in WAYS.items() if ways == ("nothing",)} == provable_facts(WITHOUT_KEYS)


@pytest.mark.parametrize("fact", WAYS)
def test_no_way_repeats_a_need(fact):
    for way in WAYS[fact]:
        parts = way.split("; ")

        assert len(parts) == len({*parts})
        assert way.isprintable()


def test_missing_resources_are_named_with_the_facts_that_need_them():
    missing = missing_by_need(make_target())

    assert "auth.revoked-key-is-401" in missing['a key with state = "revoked"']
    assert "capability.star-is-admitted" in missing['an administrator\'s key that holds "*"']
    assert "run.success-shape" in missing["a key that holds workflow:run, for a workflow of its account"]
