"""The page of received requests: bounded, without secrets, and text whatever was sent."""

import json

import httpx
import pytest
from clocks import wait_until

from knouds_sandbox.activity import KEPT_BYTES, KEPT_REQUESTS
from knouds_sandbox.providers import Latency
from knouds_sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox(
        page=True,
        latency=Latency(time_scale=0.01),
        webhook_url="http://user:word@127.0.0.1:9/hook?token=1",
        control_token="test-token",
    ) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def client(sandbox):
    with httpx.Client(base_url=sandbox.base_url) as client:
        yield client


def activity(client, after=0):
    return client.get("/activity.json", params={"after": after}).json()


def test_page_loads_nothing_from_elsewhere(client):
    """One file; its policy allows only its own script, and no frame around it."""
    answer = client.get("/")

    policy = answer.headers["content-security-policy"]
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert answer.text.count(f'nonce="{nonce}"') == 2
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "://" not in answer.text
    assert "innerHTML" not in answer.text


def test_exchange_is_shown_with_its_response(client, sandbox):
    client.get("/api/whoami?a=b", headers={"x-api-key": sandbox.keys["pro"]})

    shown = activity(client)["requests"][-1]
    assert (shown["line"], shown["key"], shown["status"]) == ("GET /api/whoami?a=b", "key pro", 200)
    assert "x-api-key: (key pro)" in shown["request"]
    assert '"tier":"pro"' in shown["answer"]
    assert activity(client, after=shown["number"])["requests"] == []


def test_no_secret_is_shown(client, sandbox):
    secret = sandbox.keys["full"]
    escaped = "".join(f"\\u{ord(each):04x}" for each in secret)
    encoded = "".join(f"%{ord(each):02x}" for each in secret)
    headers = {"authorization": f"Bearer {secret}", "x-other": secret, "cookie": "a=canary"}
    client.post(f"/api/{secret}?key={encoded}", headers=headers, content=f'["{secret}", "{escaped}"]')
    client.get("/api/whoami", headers={"x-api-key": "knouds_live_canary"})

    text = client.get("/activity.json").text

    assert "unknown key" in text
    assert [
        each
        for each in (secret, secret[12:], json.dumps(escaped), encoded, "Bearer", "canary")
        if each in text
    ] == []


def test_control_plane_requests_are_not_shown(client):
    before = activity(client)["requests"]

    client.post(
        "/__sandbox__/keys",
        headers={"x-sandbox-token": "test-token"},
        json={"account": "ada", "capabilities": []},
    )

    assert activity(client)["requests"] == before


def test_execution_and_delivery_are_shown(client, sandbox):
    headers = {"x-api-key": sandbox.keys["full"]}
    path = "/api/workflows/sunset-clip/run?async=true"
    run = client.post(path, headers=headers, json={"inputs": {}}).json()

    wait_until(lambda: any(each["attempts"] for each in activity(client)["deliveries"]))

    seen = activity(client)
    assert seen["executions"][0]["id"] == run["executionId"]
    assert seen["executions"][0]["what"] == "sunset-clip"
    delivery = seen["deliveries"][0]
    assert (delivery["event"], delivery["to"]) == ("execution.completed", "http://127.0.0.1:9/hook")
    assert delivery["answer"] == "not reached"


def test_kept_requests_are_bounded(client, sandbox):
    for _ in range(KEPT_REQUESTS + 5):
        client.get("/api/health")
    headers = {"x-api-key": sandbox.keys["full"]}  # without a key, the body is not read
    client.post("/api/workflows", headers=headers, content=b"<" * (3 * KEPT_BYTES))

    requests = activity(client)["requests"]

    assert len(requests) <= KEPT_REQUESTS
    assert requests[-1]["request"].count("<") == KEPT_BYTES
    assert requests[-1]["request"].endswith(f"… and {2 * KEPT_BYTES} more bytes")


def test_page_is_off_by_default():
    with running_sandbox() as sandbox:
        codes = [httpx.get(f"{sandbox.base_url}/{path}").json()["code"] for path in ("", "activity.json")]

    assert codes == ["NOT_FOUND", "NOT_FOUND"]
