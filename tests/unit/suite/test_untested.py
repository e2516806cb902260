"""Why a test lacks what it needs."""

from dataclasses import replace

import pytest
from example_targets import make_target
from exchanges import exchange

from knouds_harness.exchange.profile_check import Contradiction, without
from knouds_harness.suite.untested import untested_for
from knouds_harness.targets.needs import Need
from knouds_harness.targets.needs.keys import ANY_KEY, REVOKED_KEY
from knouds_harness.targets.resources import Persona

TARGET = make_target()


def refused(name):
    return Contradiction(
        where=f"keys.{name}",
        profile_says="the key is active",
        target_says="the target refuses it",
        either="one or the other",
        fact="auth.key-in-x-api-key",
        exchange=exchange(401),
    )


def test_need_missing_in_the_profile_is_caused_by_the_profile():
    untested = untested_for(REVOKED_KEY, profile=TARGET, contradictions=[refused("full")])

    assert (untested.missing, untested.cause) == ('a key with state = "revoked"', "profile")


def test_contradiction_that_removed_the_key_is_named():
    """Only the one that did, with its line."""
    need: Need[Persona] = Need(
        says="the full key",
        fitting=lambda target: (key for key in target.personas.values() if key.name == "full"),
    )

    untested = untested_for(need, profile=TARGET, contradictions=[refused("legacy"), refused("full")])

    assert untested.cause == "contradiction"
    assert untested.missing == "keys.full as the profile has it, but the target refuses it"


def test_all_contradictions_are_named_if_any_key_would_do():
    contradictions = [refused(name) for name in TARGET.personas]
    assert ANY_KEY.find(without(TARGET, contradictions)) is None

    untested = untested_for(ANY_KEY, profile=TARGET, contradictions=contradictions)

    assert [name for name in TARGET.personas if f"keys.{name}" in untested.missing] == list(TARGET.personas)


@pytest.mark.parametrize("where", ["keys.full.tier", "keys.full", "keys.full.role"])
def test_contradicted_key_is_removed_from_the_target(where):
    left = without(TARGET, [replace(refused("full"), where=where)]).personas

    assert set(left) == set(TARGET.personas) - {"full"}
