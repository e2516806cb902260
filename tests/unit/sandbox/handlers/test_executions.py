"""Asynchronous runs: submit, poll, cancel, and what they leave behind."""

import time
import uuid

import pytest


def wait_until_ended(ask, url, persona, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while (poll := ask("GET", url, persona).json())["status"] in {"processing", "cancel_requested"}:
        assert time.monotonic() < deadline
    return poll


def test_submit_answers_how_to_follow(ask_fresh):
    """A submit names execution, request, workflow and where to poll."""
    submit = ask_fresh(
        "POST", "/api/workflows/sunset-clip/run?async=true", "full", json={"inputs": {}}
    ).json()

    assert submit == {
        "_async": True,
        "executionId": str(uuid.UUID(submit["executionId"])),
        "requestId": submit["requestId"],
        "status": "processing",
        "webhookDelivery": {"configured": False},
        "pollUrl": f"/api/executions/{submit['executionId']}",
        "workflowSlug": "sunset-clip",
    }


@pytest.mark.parametrize(
    ("model", "status", "member"), [("suno-v5", "completed", "result"), ("failing-model", "failed", "error")]
)
def test_execution_ends(ask_fresh, model, status, member):
    """An execution ends as its provider does."""
    submit = ask_fresh("POST", f"/api/models/{model}/run?async=true", "full", json={"inputs": {}}).json()

    poll = wait_until_ended(ask_fresh, submit["pollUrl"], "full")

    assert poll["status"] == status
    assert poll["executionId"] == submit["executionId"]
    assert poll[member]


def test_cancelled_execution_is_charged(ask_fresh):
    """Cancelling in flight ends in cancelled, and costs what the run would have."""
    submit = ask_fresh("POST", "/api/models/suno-v5/run?async=true", "business", json={"inputs": {}}).json()

    cancel = ask_fresh("POST", f"{submit['pollUrl']}/cancel", "business")

    assert (cancel.status_code, cancel.json()["status"]) == (200, "cancel_requested")
    assert wait_until_ended(ask_fresh, submit["pollUrl"], "business")["status"] == "cancelled"
    row = ask_fresh("GET", "/api/usage?limit=1", "business").json()["rows"][0]
    assert (row["status"], row["creditsCost"], row["requestId"]) == ("cancelled", 20, submit["requestId"])


def test_ended_execution_cannot_be_cancelled(ask_fresh, assert_refused):
    """Nothing leaves a final status."""
    submit = ask_fresh("POST", "/api/models/suno-v5/run?async=true", "full", json={"inputs": {}}).json()
    ended = wait_until_ended(ask_fresh, submit["pollUrl"], "full")

    assert_refused(ask_fresh("POST", f"{submit['pollUrl']}/cancel", "full"), 409, "EXECUTION_ENDED")

    assert ask_fresh("GET", submit["pollUrl"], "full").json() == ended


def test_foreign_execution_does_not_exist(ask, assert_refused):
    """Neither polled nor cancelled by anyone else."""
    url = ask("POST", "/api/models/suno-v5/run?async=true", "full", json={"inputs": {}}).json()["pollUrl"]

    for persona in ("stranger", "admin"):
        assert_refused(ask("GET", url, persona), 404, "NOT_FOUND")
        assert_refused(ask("POST", f"{url}/cancel", persona), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "execution_id", ["unknown", "%00", "%ff", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "x" * 3000]
)
def test_unknown_execution_is_not_found(ask, assert_refused, execution_id):
    """Whatever is asked for."""
    assert_refused(ask("GET", f"/api/executions/{execution_id}", "full"), 404, "NOT_FOUND")


def test_webhook_is_announced_where_it_will_be_sent(ask, mint):
    """A key with a webhook and webhook:receive hears so; one without the capability does not."""
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
