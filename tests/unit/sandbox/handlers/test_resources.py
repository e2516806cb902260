"""Behaviour that no source documents, of runs, executions and workflows; the suite tests the rest."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.state.workflow_documents import make_slug

URL = "https://media.sandbox.example/"


@pytest.mark.parametrize(
    ("count", "cost"), [(1, 8), (3, 24), (99, 64), (-1, 8), (1e300, 64), (10**400, 64), (True, 8)]
)
def test_each_image_is_charged(ask, count, cost):
    """An invalid count is taken for the nearest valid one."""
    run = ask("POST", "/api/workflows/portrait/run", "full", json={"inputs": {"count": count}}).json()

    assert (run["success"], run["cost"], len(run["result"]["images"])) == (True, cost, cost // 8)
    assert isinstance(run["ms"], float)


@pytest.mark.parametrize(
    ("model", "medium"),
    [
        ("nano-banana-2", "images"),
        ("kling-v3-i2v", "videos"),
        ("suno-v5", "audios"),
        ("claude-sonnet", "text"),
    ],
)
def test_result_is_of_the_models_medium(ask, model, medium):
    result = ask("POST", f"/api/models/{model}/run", "full", json={"inputs": {"prompt": "x"}}).json()[
        "result"
    ]

    assert list(result) == [medium]
    assert all(item.startswith("claude-sonnet" if medium == "text" else URL) for item in result[medium])


def test_failed_run_is_refunded(ask_fresh):
    ask_fresh("POST", "/api/models/failing-model/run", "business", json={"inputs": {}})

    row = ask_fresh("GET", "/api/usage?limit=1", "business").json()["rows"][0]
    assert (row["status"], row["creditsCost"], row["errorCode"]) == ("failed", 0, "EXECUTION_FAILED")


def wait_until_ended(ask, url, persona, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while (poll := ask("GET", url, persona).json())["status"] in {"processing", "cancel_requested"}:
        assert time.monotonic() < deadline
    return poll


def test_ended_execution_cannot_be_cancelled(ask_fresh, assert_refused):
    submit = ask_fresh("POST", "/api/models/suno-v5/run?async=true", "full", json={"inputs": {}}).json()
    ended = wait_until_ended(ask_fresh, submit["pollUrl"], "full")

    assert_refused(ask_fresh("POST", f"{submit['pollUrl']}/cancel", "full"), 409, "EXECUTION_ENDED")

    assert ask_fresh("GET", submit["pollUrl"], "full").json() == ended


@pytest.mark.parametrize(
    "execution_id", ["unknown", "%00", "%ff", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "x" * 3000]
)
def test_unknown_execution_is_not_found(ask, assert_refused, execution_id):
    assert_refused(ask("GET", f"/api/executions/{execution_id}", "full"), 404, "NOT_FOUND")


def test_unknown_workflow_is_not_run(ask, assert_refused):
    answer = ask("POST", "/api/workflows/unknown/run", "full", json={"inputs": {}})

    assert_refused(answer, 404, "NOT_FOUND")


def test_webhook_is_announced_if_it_will_be_sent(ask, mint):
    """Only a key with a webhook and webhook:receive gets deliveries."""
    webhook = {"url": "http://127.0.0.1:9/hook", "secret": "s" * 16}
    deliveries = [
        ask(
            "POST",
            "/api/models/suno-v5/run?async=true",
            headers=mint("model:run", *more, webhook=webhook),
            json={"inputs": {}},
        ).json()["webhookDelivery"]
        for more in (["webhook:receive"], [])
    ]

    assert deliveries == [{"configured": True, "url": webhook["url"]}, {"configured": False}]


@given(name=st.text())
def test_slug_has_slug_characters_only(name):
    slug = make_slug(name)

    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug.strip("-") == slug


def test_taken_slugs_get_the_next_suffix(ask_fresh):
    """-2, -3, … is appended while the slug is taken; a freed one is used again."""
    slugs = [
        ask_fresh("POST", "/api/workflows", "full", json={"name": "A b"}).json()["slug"] for _ in range(3)
    ]
    ask_fresh("DELETE", "/api/workflows/a-b-2", "full")

    again = ask_fresh("POST", "/api/workflows", "stranger", json={"name": "A  B!"}).json()["slug"]

    assert slugs == ["a-b", "a-b-2", "a-b-3"]
    assert again == "a-b-2"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "text",
        {"name": ""},
        {"name": "  "},
        {"name": 3},
        {"name": None},
        {"name": "x", "tags": "a"},
        {"name": "x", "tags": [1]},
        {"name": "x", "nodes": {}},
        {"name": "x", "nodes": [{"id": "n"}]},
        {"name": "x", "nodes": [{"id": "n", "type": "t", "position": {"x": True, "y": 0}, "data": {}}]},
        {"name": "x", "edges": [{"id": "e", "source": "a"}]},
        {"name": "x", "edges": [{"id": "e", "source": "a", "target": "b", "sourceHandle": 1}]},
        {"name": "x", "viewport": []},
        {"name": "x", "viewport": {"x": 0, "y": 0}},
        {"name": "x", "publicPlayground": "yes"},
        {"name": "x", "folderId": 3},
        {"name": "x" * 10_001},
    ],
)
def test_malformed_document_is_refused(ask, assert_refused, body):
    assert_refused(ask("POST", "/api/workflows", "full", json=body), 400, "INVALID_BODY")


@pytest.mark.parametrize("body", [{}, [], {"folderId": 3}, {"folderId": ""}, {"folderId": []}])
def test_move_without_folder_is_refused(ask, assert_refused, body):
    assert_refused(ask("PUT", "/api/workflows/portrait/move", "full", json=body), 400, "INVALID_BODY")


def test_schema_describes_every_kind_of_field(ask):
    schema = ask("GET", "/api/workflows/all-fields/schema", "full").json()

    assert [field["type"] for field in schema["fields"]] == [
        "text",
        "textarea",
        "number",
        "slider",
        "pills",
        "toggle",
        "image",
        "video",
    ]
    assert schema["values"] == {field["name"]: field["default"] for field in schema["fields"]}
    assert schema["estimatedCreditCost"] == 6
