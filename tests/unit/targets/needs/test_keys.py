"""Which key of a profile a check gets if several would do."""

import pytest
from example_targets import make_key, offering

from knouds_harness.contract.operations import Action
from knouds_harness.targets.needs.keys import AUTHOR, PRO_MODEL_KEY, STAR_KEY, TWO_AUTHORS
from knouds_harness.targets.needs.runs import BROKE_RUN, WORKFLOW_CALL, WORKFLOW_RUN
from knouds_harness.targets.needs.webhooks import keys_with_another_secret
from knouds_harness.targets.resources import Limits, Model, Webhook, Workflow
from knouds_harness.targets.secrets import Secret

EVERYTHING = frozenset(("workflow:*", "model:*", "execution:*"))
NO_MODELS = frozenset(("workflow:*", "execution:*"))


def key(name, user, **more):
    return make_key(name, user, **{"capabilities": EVERYTHING, "tier": "business", **more})


PORTRAIT_OF_PIA = Workflow(slug="portrait", owner="pia")
OF_ADA = (key("full", "ada"), key("read", "ada"))


@pytest.mark.parametrize(
    ("need", "offered", "chosen"),
    [
        pytest.param(
            AUTHOR,
            offering(
                key("enterprise", "eve", tier="enterprise"),
                key("full", "ada"),
                key("bound", "ada", capabilities=frozenset(("workflow:portrait:run",))),
                workflows=[Workflow(slug="portrait", owner="ada")],
            ),
            ["full"],
            id="of the best described account: a lesser key shows something only beside a full one",
        ),
        pytest.param(
            AUTHOR,
            offering(key("full", "ada"), key("enterprise", "eve", tier="enterprise")),
            ["enterprise"],
            id="without a rate limit, among equals",
        ),
        *(
            pytest.param(
                TWO_AUTHORS,
                offering(*OF_ADA, key("stranger", "sam", capabilities=NO_MODELS, tier=tier)),
                ["full", "stranger"],
                id=f"a second account, of tier {tier}",
            )
            for tier in ("pro", "team")
        ),
        pytest.param(
            TWO_AUTHORS,
            offering(
                *OF_ADA,
                key("pro", "sam", capabilities=NO_MODELS, tier="pro"),
                key("other", "bea", capabilities=NO_MODELS | {"model:run"}),
            ),
            ["full", "other"],
            id="a second account with the most capable key",
        ),
        pytest.param(
            WORKFLOW_RUN,
            offering(
                *OF_ADA, key("pro", "pia", capabilities=NO_MODELS, tier="pro"), workflows=[PORTRAIT_OF_PIA]
            ),
            ["pro", "portrait"],
            id="key and workflow of one account",
        ),
    ],
)
def test_key_that_shows_most_is_chosen(need, offered, chosen):
    found = need.find(offered)

    assert [each.name for each in (found if isinstance(found, tuple) else (found,))] == chosen


@pytest.mark.parametrize(
    ("held", "is_met"),
    [
        ({"workflow:portrait:run"}, True),
        ({"workflow:run"}, True),
        ({"workflow:*"}, True),
        ({"workflow:other:run"}, False),
        ({"workflow:read", "workflow:write"}, False),
    ],
)
def test_any_key_that_may_run_meets_the_need(held, is_met):
    offered = offering(key("pro", "pia", capabilities=frozenset(held)), workflows=[PORTRAIT_OF_PIA])

    assert (WORKFLOW_CALL.find(offered) is not None) == is_met


def test_administrator_and_star_stand_for_no_ordinary_account():
    """One bypasses tiers and limits; what the star of another account admits to is open."""
    star = frozenset(("*",))
    administrator = key("root", "root", capabilities=star, tier="pro", role="admin")
    ordinary = key("star", "sam", capabilities=star)

    assert PRO_MODEL_KEY.find(offering(administrator)) is None
    assert STAR_KEY.find(offering(administrator)) == administrator
    assert STAR_KEY.find(offering(ordinary)) is None
    assert TWO_AUTHORS.find(offering(key("full", "ada"), ordinary)) is None


def test_message_names_what_is_missing():
    """First the permission, then the key and the workflow, then the cost of the run."""
    runner, portrait = key("pro", "pia", capabilities=frozenset({"workflow:run"})), [PORTRAIT_OF_PIA]
    allowing = Limits(allow=frozenset({Action.READ, Action.RUN}))

    assert WORKFLOW_RUN.missing(offering(runner)) == '"run" in limits.allow'
    assert WORKFLOW_RUN.missing(offering(runner, limits=allowing)) == (
        "a key that holds workflow:run, for a workflow of its account"
    )
    assert WORKFLOW_RUN.missing(offering(runner, workflows=portrait, limits=allowing)) == (
        "a key that holds workflow:run, for a workflow of its account with a known cost "
        "(cost_credits, or workflow:read to ask)"
    )
    assert WORKFLOW_CALL.missing(offering(runner, workflows=portrait, limits=allowing)) is None


@pytest.mark.parametrize(
    ("credits_left", "is_refused"), [("none", True), (3.0, True), (8.0, False), ("enough", False)]
)
def test_account_with_too_few_credits_can_show_the_refusal(credits_left, is_refused):
    offered = offering(
        key("poor", "pip", credits=credits_left),
        workflows=[Workflow(slug="portrait", owner="pip", cost_credits=8)],
        limits=Limits(allow=frozenset({Action.RUN})),
    )

    assert (BROKE_RUN.missing(offered) is None) == is_refused


@pytest.mark.parametrize(
    ("users", "own_secrets", "other"),
    [
        (("ada", "ada"), (), None),
        (("ada", "ada"), ("b",), "b"),
        (("ada", "ada"), ("a",), "b"),
        (("ada", "ada"), ("a", "b"), "b"),
        (("ada", "bea"), (), None),
        (("ada", "bea"), ("b",), "b"),
        (("ada", "bea", "bea"), ("b", "c"), "c"),
    ],
)
def test_second_webhook_key_has_another_signing_secret(users, own_secrets, other):
    """Otherwise a server that signs with one secret for all, or for an account, would not be noticed."""
    capabilities = EVERYTHING | {"webhook:receive"}
    own = {name: {"webhook_secret": Secret(f"whsec_of_{name}", name)} for name in own_secrets}
    offered = offering(
        *(
            key(name, user, capabilities=capabilities, webhook=True, **own.get(name, {}))
            for name, user in zip("abc", users, strict=False)
        ),
        models={"suno": Model(name="suno", polled=True, cost_credits=8, inputs={"prompt": "x"})},
        webhook=Webhook(url="http://127.0.0.1:9000/", secret=Secret("whsec_of_all", "webhook-secret")),
    )

    found = keys_with_another_secret(offered)

    assert (found[0].key.name if found else None) == other
