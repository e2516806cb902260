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


THE_FULL_KEY: Need[Persona] = Need(
    says="the full key",
    fitting=lambda target: (key for key in target.personas.values() if key.name == "full"),
)


@pytest.mark.parametrize(
    ("need", "contradicted", "missing", "cause"),
    [
        (REVOKED_KEY, ["full"], 'a key with state = "revoked"', "profile"),
        (
            THE_FULL_KEY,
            ["legacy", "full"],
            "keys.full as the profile has it, but the target refuses it",
            "contradiction",
        ),
    ],
    ids=["missing in the profile", "removed by one contradiction"],
)
def test_what_is_missing_is_named_with_its_cause(need, contradicted, missing, cause):
    """Only the contradiction that removed the key, with its line."""
    untested = untested_for(need, profile=TARGET, contradictions=list(map(refused, contradicted)))

    assert (untested.missing, untested.cause) == (missing, cause)


def test_all_contradictions_are_named_if_any_key_would_do():
    contradictions = [refused(name) for name in TARGET.personas]
    assert ANY_KEY.find(without(TARGET, contradictions)) is None

    untested = untested_for(ANY_KEY, profile=TARGET, contradictions=contradictions)

    assert [name for name in TARGET.personas if f"keys.{name}" in untested.missing] == list(TARGET.personas)


@pytest.mark.parametrize("where", ["keys.full.tier", "keys.full", "keys.full.role"])
def test_contradicted_key_is_removed_from_the_target(where):
    left = without(TARGET, [replace(refused("full"), where=where)]).personas

    assert set(left) == set(TARGET.personas) - {"full"}
