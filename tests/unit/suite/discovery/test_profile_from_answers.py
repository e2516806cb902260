"""What single responses tell about accounts, keys, workflows and models, in any shape."""

from typing import Any

import pytest
from exchanges import exchange, refusal

from knouds_harness.suite.discovery.profile_from_answers import (
    account_in,
    choose_workflows,
    holding_in,
    is_legacy,
    model_names,
    most_credits_by_model,
    priced_models,
    workflow_in,
)
from knouds_harness.targets.resources import Workflow

USER = {"id": "usr_1", "email": "a@example.com", "role": "user", "tier": "pro", "approved": True}


@pytest.mark.parametrize(
    "answer",
    [
        exchange(200, USER),
        exchange(200, {"user": {**USER, "tier": 4}}),
        exchange(200, {"user": {**USER, "id": None}}),
        exchange(200, []),
        exchange(200, raw=b"<html>"),
        exchange(429, {"user": USER}),
        refusal(401),
        exchange(None),
    ],
)
def test_unusable_whoami_describes_no_account(answer):
    assert account_in(answer) is None


def test_only_its_code_proves_a_legacy_key():
    """A plain 401 may have other reasons."""
    assert is_legacy(refusal(401, "LEGACY_KEY_RETIRED"))
    assert not is_legacy(refusal(401, "UNAUTHORIZED"))
    assert not is_legacy(refusal(403, "LEGACY_KEY_RETIRED"))


@pytest.mark.parametrize(
    ("answer", "is_held"),
    [
        (exchange(200, []), True),
        (refusal(404, "NOT_FOUND"), True),
        (refusal(404), True),
        (refusal(400, "INVALID_INPUTS"), True),
        (refusal(402, "INSUFFICIENT_CREDITS"), True),
        (refusal(403, "CAPABILITY_DENIED"), False),
        (refusal(403, "MODEL_TIER_REQUIRED"), None),
        (refusal(401, "UNAUTHORIZED"), None),
        (refusal(405, "METHOD_NOT_ALLOWED"), None),
        (refusal(429, "RATE_LIMIT_EXCEEDED"), None),
        (refusal(500, "EXECUTION_FAILED"), None),
        (exchange(302), None),
        (exchange(None), None),
    ],
)
def test_response_shows_whether_a_key_holds_the_capability(answer, is_held):
    assert holding_in(answer).is_held is is_held


def test_chosen_workflows_are_of_all_kinds():
    """One of each kind before a second of any; those with a cost first, the cheapest before all."""
    paid = [{"slug": f"paid-{cost}", "estimatedCreditCost": cost, "folderId": None} for cost in (9, 2, 5)]
    free = {"slug": "free", "estimatedCreditCost": None, "folderId": None}
    filed = {"slug": "filed", "estimatedCreditCost": 7, "folderId": "folder"}

    chosen = choose_workflows([*paid, free, filed], 4)

    assert [each["slug"] for each in chosen] == ["paid-2", "paid-5", "filed", "free"]


def test_workflow_is_described_by_three_responses():
    fields = [{"name": "prompt", "type": "text"}, {"name": "count", "type": "slider"}]
    schema = {
        "fields": fields,
        "values": {"prompt": "dusk", "count": 2, "stray": 1},
        "estimatedCreditCost": 16,
    }

    found = workflow_in(
        {"slug": "portrait", "isTemplate": False, "estimatedCreditCost": 8, "folderId": None},
        exchange(200, schema),
        exchange(200, {"publicPlayground": True, "folderId": "folder"}),
        owner="pro",
    )

    assert found == Workflow(
        slug="portrait",
        owner="pro",
        inputs={"prompt": "dusk", "count": 2},
        public=True,
        in_folder=True,
        cost_credits=16,
    )


def test_inputs_that_a_profile_cannot_hold_are_left_out():
    fields = [{"name": name, "type": "text"} for name in ("kept", "table", "nothing")]
    values: dict[str, Any] = {"kept": ["a"], "table": {}, "nothing": None}
    long = {"kept": "x" * 1_000}

    assert inputs_of(fields, values) == {"kept": ["a"]}
    assert inputs_of(fields, long) == {}


def inputs_of(fields, values):
    schema = exchange(200, {"fields": fields, "values": values})
    return workflow_in({"slug": "plain"}, schema, exchange(None), owner="pro").inputs


@pytest.mark.parametrize(
    "body",
    [
        ["gpt-image-2", "suno-v5"],
        {"models": ["gpt-image-2", "suno-v5"]},
        {"modelIds": ["gpt-image-2", "suno-v5", "fal:x"]},
        {
            "models": [{"id": "gpt-image-2", "name": "GPT Image 2"}, {"internalName": "suno-v5", "id": 7}],
            "tiers": [],
        },
        {"tiers": [], "models": {"gpt-image-2": {"credits": 1}, "suno-v5": {}}},
    ],
)
def test_model_names_are_found_in_any_shape(body):
    """No source says how usage and pricing show models."""
    assert model_names(body) == {"gpt-image-2", "suno-v5"}


@pytest.mark.parametrize("body", [None, "gpt-image-2", 4, {}, {"models": 3}, [None, {"id": []}]])
def test_other_values_are_not_model_names(body):
    assert model_names(body) == set()


@pytest.mark.parametrize(
    ("pricing", "models"),
    [
        ({"tiers": [{"id": "pro"}, {"id": "business"}]}, set()),
        ({"plans": ["starter", "team"]}, set()),
        ([{"id": "pro"}], set()),
        ({"tiers": [{"id": "pro"}], "models": [{"id": "suno-v5", "credits": 20}]}, {"suno-v5"}),
        ({"tiers": [{"id": "pro"}], "modelCredits": {"suno-v5": 20}}, {"suno-v5"}),
        ({"models": {"pro": ["suno-v5"], "business": []}}, set()),
    ],
)
def test_tiers_in_pricing_are_not_models(pricing, models):
    assert priced_models(pricing) == models


def test_highest_costs_of_models_are_those_of_direct_runs():
    rows: list[dict[str, Any]] = [
        {"workflowSlug": None, "modelIds": ["a"], "creditsCost": 5},
        {"workflowSlug": None, "modelIds": ["a"], "creditsCost": 15},
        {"workflowSlug": None, "modelIds": ["b"], "creditsCost": 0},
        {"workflowSlug": "portrait", "modelIds": ["c"], "creditsCost": 9},
        {"workflowSlug": None, "modelIds": ["a", "c"], "creditsCost": 99},
        {"workflowSlug": None, "modelIds": "a", "creditsCost": True},
    ]

    assert most_credits_by_model(rows) == {"a": 15}
