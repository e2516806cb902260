"""Which key of a profile a check gets, where several would do."""

import pytest

from knouds_harness.conformance.needs import FULL_KEY, STRANGER_KEY, STRANGER_MODEL_KEY
from knouds_harness.contract.capabilities import meets
from knouds_harness.target.personas import Persona, Secret
from knouds_harness.target.profile import Target
from knouds_harness.target.resources import Workflow

EVERYTHING = frozenset(("workflow:*", "model:*", "execution:*"))
NO_MODELS = frozenset(("workflow:*", "execution:*"))


def key(name, user, *, capabilities=EVERYTHING, tier="business", **more):
    return Persona(
        name=name,
        secret=Secret(value=f"knouds_live_{name}", label=name),
        user=user,
        capabilities=capabilities,
        tier=tier,
        **more,
    )


def target(*personas, workflows=()):
    return Target(
        name="staging",
        base_url="http://127.0.0.1",
        personas={persona.name: persona for persona in personas},
        workflows={slug: Workflow(slug=slug, owner=owner) for slug, owner in workflows},
    )


def chosen(need, offered) -> Persona:
    """The key that the need gets; there has to be one."""
    found: Persona | None = need.find(offered)
    assert found is not None
    return found


def test_full_key_is_of_the_account_that_the_profile_knows_best():
    """Keys that may do less show something only beside a full key of their own account."""
    offered = target(
        key("enterprise", "eve", tier="enterprise"),
        key("full", "ada"),
        key("bound", "ada", capabilities=frozenset(("workflow:portrait:run",))),
        workflows=(("portrait", "ada"),),
    )

    assert chosen(FULL_KEY, offered).name == "full"


def test_full_key_without_a_rate_limit_comes_first_among_equals():
    """A tier without a limit makes nobody wait."""
    offered = target(key("full", "ada"), key("enterprise", "eve", tier="enterprise"))

    assert chosen(FULL_KEY, offered).name == "enterprise"


@pytest.mark.parametrize("tier", ["pro", "team"])
def test_stranger_needs_no_models(tier):
    """Isolation shows with a second account on any tier that has keys."""
    offered = target(
        key("full", "ada"), key("read", "ada"), key("stranger", "sam", capabilities=NO_MODELS, tier=tier)
    )

    assert chosen(STRANGER_KEY, offered).name == "stranger"
    assert STRANGER_MODEL_KEY.find(offered) is None


def test_stranger_who_may_run_models_comes_first():
    """The stranger that shows the most is chosen."""
    offered = target(
        key("full", "ada"),
        key("read", "ada"),
        key("pro", "sam", capabilities=NO_MODELS, tier="pro"),
        key("other", "bea"),
    )

    assert meets(chosen(STRANGER_KEY, offered).capabilities, "model:run")
