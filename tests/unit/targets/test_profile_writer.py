"""Generated profiles: valid and safe as they are, and each commented-out step is valid too."""

import re
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.contract.operations import Action
from knouds_harness.targets.profile_writer import Found, FoundKey, profile_text, toml_value
from knouds_harness.targets.resources import Workflow

KEY = FoundKey(
    name="full",
    variable="STAGING_KEY",
    user="pro",
    tier="pro",
    capabilities=("workflow:read", "workflow:portrait:run"),
    unknown_capabilities={"webhook:receive": "no request shows it"},
)
PORTRAIT = Workflow(
    slug="portrait", owner="pro", inputs={"prompt": "a “lighthouse”\n", "count": 1}, cost_credits=8.0
)
FOUND = Found(
    base_url="https://staging.example.com",
    keys=(
        KEY,
        FoundKey(name="old", variable="OLD_KEY", user="old", tier="unknown", refusal="401 UNAUTHORIZED"),
    ),
    workflows=(PORTRAIT,),
    models={"gpt-image-2": 15.0, "claude-sonnet": 0.0},
    remarks=("20 workflows are left out.",),
)
SECRETS = {"STAGING_KEY": "knouds_live_0123456789", "OLD_KEY": "knouds_live_9876543210"}
STEP = re.compile(r"^(\s*)# (?=\[|\"|[a-z_]+ = )", re.MULTILINE)

JSON = st.recursive(
    st.text() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_every_commented_step_is_valid(load):
    """With the # removed from each of them, the whole is a profile."""
    text = STEP.sub(r"\1", profile_text(FOUND, target="staging"))

    target = load(text, **SECRETS, KNOUDS_WEBHOOK_SECRET="whsec_0123456789abcdef")

    assert target.limits.allow == set(Action)
    assert target.production
    assert "webhook:receive" in target.personas["full"].capabilities
    assert target.personas["full"].webhook
    assert target.personas["old"].state == "revoked"
    assert target.workflows["portrait"].image_count_input == "count"
    resources = target.workflows | target.models
    assert {name: (each.polled, each.cost_credits) for name, each in resources.items()} == {
        "portrait": (True, 8),
        "gpt-image-2": (True, 15),
        "claude-sonnet": (False, None),
    }


def test_second_account_is_proposed_if_only_one_is_known():
    other = FoundKey(name="other", variable="OTHER_KEY", user="business", tier="business")
    two = Found(base_url=FOUND.base_url, keys=(KEY, other))

    assert "[keys.second]" in profile_text(FOUND, target="staging")
    assert "[keys.second]" not in profile_text(two, target="staging")


def test_legacy_key_is_not_commented_out(load):
    legacy = FoundKey(name="legacy", variable="STAGING_KEY", user="legacy", tier="unknown", state="legacy")

    target = load(profile_text(Found(base_url=FOUND.base_url, keys=(legacy,)), target="staging"), **SECRETS)

    assert target.personas["legacy"].state == "legacy"


@pytest.mark.parametrize(
    "words",
    ['x"\nallow = ["run"]\n"', "x\r[limits]\u2028\x1b[31m", "x\x7f\\", "\u009b31m\u202ex\u2066\u200b"],
)
def test_text_of_a_server_is_escaped(load, words):
    """It adds no line, and nothing that a terminal obeys."""
    key = FoundKey(
        name="full",
        variable="STAGING_KEY",
        user="pro",
        tier=words,
        unknown_capabilities={"webhook:receive": words},
    )
    found = Found(base_url=FOUND.base_url, keys=(key,), remarks=(words,))

    text = profile_text(found, target=words)
    target = load(text, **SECRETS)

    assert text.replace("\n", "").isprintable()
    assert target.personas["full"].tier == words
    assert target.limits.allow == {Action.READ}


@given(value=JSON, name=st.text())
def test_toml_value_is_read_back(value, name):
    assert toml_value({name: value}).isprintable()
    assert tomllib.loads(f"value = {toml_value({name: value})}") == {"value": {name: value}}


@pytest.mark.parametrize(
    ("answer", "state"), [("401 ACCOUNT_NOT_APPROVED", "unapproved"), ("401 UNAUTHORIZED", "revoked")]
)
def test_refused_key_is_offered_in_the_state_that_its_code_names(answer, state):
    refused = replace(KEY, name="pending", variable="PENDING_KEY", refusal=answer)

    text = profile_text(replace(FOUND, keys=(refused,)), target="staging")

    assert f'\n# state = "{state}"' in text
