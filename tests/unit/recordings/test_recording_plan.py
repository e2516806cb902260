"""What will be recorded is known beforehand: which outcomes, what keeps others from it, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded import document, make_target, recordings

from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.cookbook import all_recipes
from knouds_harness.conformance.recording_plan import make_plan
from knouds_harness.contract.operations import Action
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.target.limits import Limits
from knouds_harness.target.resources import Model, Workflow

RECIPES = all_recipes(document())
MODELS = (
    Model(name="polled", polled=True, cost_credits=15.0, inputs={}),
    Model(name="failing", polled=True, fails=True, cost_credits=5.0, inputs={}),
)


class NoClient:
    """The profile knows every price."""

    def send(self, request):
        """Nothing is to be asked."""
        raise AssertionError(request)


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
    """A plan of all recipes."""
    pricing = Pricing(NoClient(), target)
    return make_plan(RECIPES, target=target, pricing=pricing, recorded=recorded, patterns=patterns)


def names(recipes):
    """As files begin and end."""
    return {"-".join(each.name) for each in recipes}


def test_every_recipe_is_planned_kept_or_impossible(target):
    """None is forgotten."""
    made = plan(target)
    impossible = {recipe for recipes in made.impossible.values() for recipe in names(recipes)}

    assert names(made.recipes) | impossible == names(RECIPES)
    assert names(made.recipes).isdisjoint(impossible)


def test_pattern_means_operation_and_outcome(target):
    """As they stand in the plan's own lines."""
    assert names(plan(target, patterns=["getWhoami-u*", "getHealth-up"]).recipes) == {
        "getHealth-up",
        "getWhoami-user",
        "getWhoami-unknown-key",
    }


def test_story_is_recorded_as_a_whole(target):
    """Its recordings share ids: one of them alone would fit nothing."""
    story = {"-".join(each.name) for each in RECIPES if each.story == "failed-run"}

    assert len(story) == 2
    assert names(plan(target, patterns=["getExecution-failed"]).recipes) == story
    assert names(plan(target, patterns=["*fail*"], recorded=[("getExecution", "failed")]).recipes) >= story


def test_what_is_recorded_is_kept(target):
    """With the rest of its story."""
    recorded = [each.name for each in RECIPES]

    made = plan(target, recorded=recorded)

    assert made.recipes == ()
    assert names(made.kept) == names(RECIPES)
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

    assert {document().operation_by_id[each.operation].action for each in made.recipes} == {Action.READ}
    assert made.most_credits == 0
    assert {'"run" in limits.allow', '"write" in limits.allow'} <= made.impossible.keys()


def test_target_without_keys_answers_anybody(target):
    """What is public, and refusals of no key."""
    made = plan(replace(target, personas={}), patterns=["getHealth-*", "getWhoami-*"])

    assert names(made.recipes) == {
        *("getHealth-up", "getWhoami-no-key", "getWhoami-unknown-key"),
        *("getWhoami-empty-key", "getWhoami-malformed-key"),
    }


def test_recipes_are_named_once_and_name_what_exists():
    """Operation and outcome are the identity of a recording."""
    operations = {each.id for each in document().operations} | {
        "receiveExecutionCompleted",
        "receiveExecutionFailed",
        "receiveExecutionCancelled",
    }
    checks = set(all_checks())

    assert len({each.name for each in RECIPES}) == len(RECIPES)
    for recipe in RECIPES:
        assert recipe.operation in operations
        assert recipe.says.endswith(".")
        assert {check.id for check in recipe.checks} <= checks
        assert recipe.code is None or recipe.code in document().error_codes


def test_every_recipe_has_its_recording_and_the_other_way_round():
    """What is kept is what can be made again."""
    assert {(each.operation, each.outcome) for each in recordings().values()} == {
        each.name for each in RECIPES
    }
