"""The plan of a recording: which outcomes, what prevents the others, and what it costs."""

from dataclasses import replace

import pytest
from recorded import document, make_target, recordings

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UnknownName
from knouds_harness.suite.recorded.outcomes import all_outcomes, choose_outcomes, make_plan
from knouds_harness.suite.running import collect_suite
from knouds_harness.targets.resources import Limits, Model, Workflow

MODELS = (
    Model(name="polled", polled=True, cost_credits=15.0, inputs={}),
    Model(name="failing", polled=True, fails=True, cost_credits=5.0, inputs={}),
)


@pytest.fixture(scope="module")
def outcomes():
    return all_outcomes(collect_suite())


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


@pytest.fixture
def plan(outcomes):
    def make(target, *, recorded=(), patterns=()):
        chosen, kept = choose_outcomes(outcomes, recorded=recorded, patterns=patterns)
        return make_plan(chosen, kept, target=target, price=lambda each: each.cost_credits)

    return make


def names(outcomes):
    return set(map(str, outcomes))


def test_every_outcome_is_planned_kept_or_impossible(outcomes, plan, target):
    made = plan(target)
    impossible = {outcome for missing in made.impossible.values() for outcome in names(missing)}

    assert names(made.outcomes) | impossible == names(outcomes)
    assert names(made.outcomes).isdisjoint(impossible)


def test_story_is_recorded_as_a_whole(outcomes, plan, target):
    """Its recordings share ids, so one alone would not fit the rest."""
    story = names(each for each in outcomes if each.story == "failed-run")

    assert len(story) == 2
    assert names(plan(target, patterns=["getExecution-failed"]).outcomes) == story
    assert names(plan(target, patterns=["*fail*"], recorded=[("getExecution", "failed")]).outcomes) >= story


@pytest.mark.parametrize("pattern", ["runModel-accepted", "runModel-202-acc*d", "runModel-200-accepted"])
def test_patterns_fit_names_and_file_names(outcomes, plan, target, pattern):
    assert "runModel-accepted" in names(plan(target, patterns=["getHealth-up", pattern]).outcomes)


def test_pattern_that_fits_nothing_is_refused_also_beside_others(outcomes, plan, target):
    with pytest.raises(
        UnknownName, match=r'no outcome "runModel-acepted" \(known: runModel-accepted, runModel-'
    ):
        plan(target, patterns=["getHealth-up", "runModel-acepted"])


def test_outcomes_of_a_story_cost_its_executions_once(plan, target):
    failed = plan(target, patterns=["getExecution-failed"])
    both = plan(target, patterns=["getExecution-failed", "runModel-accepted-to-fail"])

    assert failed.most_credits == both.most_credits >= 5
    assert "failing" in [each.name for each in failed.runs]


def test_outcomes_that_need_a_forbidden_action_are_impossible(plan, target):
    reading = replace(target, limits=Limits(allow=frozenset({Action.READ})))

    made = plan(reading)

    assert {document().operation_by_id[each.operation].action for each in made.outcomes} == {Action.READ}
    assert made.most_credits == 0
    assert {'"run" in limits.allow', '"write" in limits.allow'} <= made.impossible.keys()


def test_outcomes_without_a_key_can_be_recorded_without_keys(plan, target):
    made = plan(replace(target, personas={}), patterns=["getHealth-*", "getWhoami-*"])

    assert names(made.outcomes) == {
        *("getHealth-up", "getWhoami-no-key", "getWhoami-unknown-key"),
        *("getWhoami-empty-key", "getWhoami-malformed-key"),
    }


def test_outcomes_and_recordings_correspond(outcomes):
    assert {(each.operation, each.outcome) for each in recordings().values()} == {
        each.name for each in outcomes
    }
