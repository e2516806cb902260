"""What will be recorded is known beforehand: which outcomes, what keeps others from it, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded import document, make_target, recordings

from knouds_harness.contract.operations import Action
from knouds_harness.judging.checks import all_checks
from knouds_harness.suite.outcomes import all_outcomes
from knouds_harness.suite.recorded.plan import make_plan
from knouds_harness.targets.limits import Limits
from knouds_harness.targets.resources import Model, Workflow

OUTCOMES = all_outcomes(document())
MODELS = (
    Model(name="polled", polled=True, cost_credits=15.0, inputs={}),
    Model(name="failing", polled=True, fails=True, cost_credits=5.0, inputs={}),
)


@pytest.fixture
def target():
    """The keys of the recordings, two models with prices and one workflow without a generator."""
    served = make_target(*recordings().values())
    personas = {
        name: replace(each, user="ada" if each.tier == "enterprise" else each.user)
        for name, each in served.personas.items()
    }
    return replace(
        served,
        personas=personas,
        models={each.name: each for each in MODELS},
        workflows={"free": Workflow(slug="free", owner="ada", has_generator=False, cost_credits=0.0)},
        limits=Limits(credits=1000.0, allow=frozenset(Action)),
    )


def plan(target, *, recorded=(), patterns=()):
    """A plan of all outcomes."""
    return make_plan(
        OUTCOMES,
        target=target,
        price=lambda each: each.cost_credits,
        recorded=recorded,
        patterns=patterns,
    )


def names(outcomes):
    """As files begin and end."""
    return {"-".join(each.name) for each in outcomes}


def test_every_outcome_is_planned_kept_or_impossible(target):
    """None is forgotten."""
    made = plan(target)
    impossible = {outcome for outcomes in made.impossible.values() for outcome in names(outcomes)}

    assert names(made.outcomes) | impossible == names(OUTCOMES)
    assert names(made.outcomes).isdisjoint(impossible)


def test_pattern_means_operation_and_outcome(target):
    """As they stand in the plan's own lines."""
    assert names(plan(target, patterns=["getWhoami-u*", "getHealth-up"]).outcomes) == {
        "getHealth-up",
        "getWhoami-user",
        "getWhoami-unknown-key",
    }


def test_story_is_recorded_as_a_whole(target):
    """Its recordings share ids: one of them alone would fit nothing."""
    story = {"-".join(each.name) for each in OUTCOMES if each.story == "failed-run"}

    assert len(story) == 2
    assert names(plan(target, patterns=["getExecution-failed"]).outcomes) == story
    assert names(plan(target, patterns=["*fail*"], recorded=[("getExecution", "failed")]).outcomes) >= story


def test_what_is_recorded_is_kept(target):
    """With the rest of its story."""
    recorded = [each.name for each in OUTCOMES]

    made = plan(target, recorded=recorded)

    assert made.outcomes == ()
    assert names(made.kept) == names(OUTCOMES)
    assert made.most_credits == 0


def test_story_costs_what_it_runs_once(target):
    """However many of its outcomes are recorded; what may end too soon is tried three times."""
    assert plan(target, patterns=["getExecution-failed"]).most_credits == 5
    assert plan(target, patterns=["getExecution-cancelled"]).most_credits == 3 * 15
    assert plan(target, patterns=["getExecution-failed", "getExecution-cancelled"]).most_credits == 5 + 3 * 15


def test_what_is_not_allowed_is_impossible(target):
    """A profile that allows reads gets reads."""
    reading = replace(target, limits=Limits(allow=frozenset({Action.READ})))

    made = plan(reading)

    assert {document().operation_by_id[each.operation].action for each in made.outcomes} == {Action.READ}
    assert made.most_credits == 0
    assert {'"run" in limits.allow', '"write" in limits.allow'} <= made.impossible.keys()


def test_target_without_keys_answers_anybody(target):
    """What is public, and refusals of no key."""
    made = plan(replace(target, personas={}), patterns=["getHealth-*", "getWhoami-*"])

    assert names(made.outcomes) == {
        *("getHealth-up", "getWhoami-no-key", "getWhoami-unknown-key"),
        *("getWhoami-empty-key", "getWhoami-malformed-key"),
    }


def test_outcomes_are_named_once_and_name_what_exists():
    """Operation and outcome are the identity of a recording."""
    operations = {each.id for each in document().operations} | {
        "receiveExecutionCompleted",
        "receiveExecutionFailed",
        "receiveExecutionCancelled",
    }
    checks = set(all_checks())

    assert len({each.name for each in OUTCOMES}) == len(OUTCOMES)
    for outcome in OUTCOMES:
        assert outcome.operation in operations
        assert outcome.says.endswith(".")
        assert {check.id for check in outcome.checks} <= checks
        assert outcome.code is None or outcome.code in document().error_codes


def test_every_outcome_has_its_recording_and_the_other_way_round():
    """What is kept is what can be made again."""
    assert {(each.operation, each.outcome) for each in recordings().values()} == {
        each.name for each in OUTCOMES
    }
