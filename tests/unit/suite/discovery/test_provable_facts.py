"""What facts need, derived from the tests that show them."""

from dataclasses import replace

import pytest
from example_targets import make_target

from knouds_harness.contract.document import shipped_document
from knouds_harness.suite.discovery.provable_facts import provable_facts, ways_by_fact
from knouds_harness.targets.needs.keys import AUTHOR, AUTHOR_AND_LESSER

WAYS = ways_by_fact()
WITHOUT_KEYS = replace(make_target(), personas={}, workflows={}, models={}, webhook=None, control=None)
KEY_ON_PRO = "a key of a pro account that holds model:run, not an administrator's"
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


@pytest.mark.parametrize(
    ("fact", "ways"),
    [
        ("whoami.id-is-string", ("an active key",)),
        ("auth.revoked-key-is-401", ('a key with state = "revoked"',)),
        ("run.unknown-workflow-is-404", ('a key that holds workflow:run; "run" in limits.allow',)),
        (
            "execution.unknown-is-404",
            (
                "a key that holds execution:read",
                'a key that holds execution:cancel; "cancel" in limits.allow',
            ),
        ),
        (
            "model.run-under-business-is-403",
            (f'{KEY_ON_PRO}; a model with cost_credits; "run" in limits.allow',),
        ),
        (
            "capability.denied-names-required",
            (
                "a key that holds a capability, but not workflow:read",
                (
                    "a control plane that mints keys (the sandbox has one); a model; "
                    "a workflow of an account that has an active key; an active key"
                ),
            ),
        ),
        (
            "capability.denial-has-no-effect",
            (f'{AUTHOR.says}; {AUTHOR_AND_LESSER.says}; "write" in limits.allow',),
        ),
    ],
)
def test_ways_are_the_needs_of_tests_in_words(fact, ways):
    """The shortest comes first, a control plane last; needs that another one implies are left out."""
    assert WAYS[fact] == ways


@pytest.mark.parametrize("fact", WAYS)
def test_no_way_repeats_a_need(fact):
    for way in WAYS[fact]:
        parts = way.split("; ")

        assert len(parts) == len({*parts})
        assert way.isprintable()
