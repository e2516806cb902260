"""The two run endpoints: inputs, names, models, credits."""

import asyncio
import json

import httpx
import pytest

JSON_TYPE = {"content-type": "application/json"}
NO_OBJECTS: list[object] = [[], "text", 3, None, True]
URL = "https://media.sandbox.example/"


@pytest.mark.parametrize(
    ("count", "cost"), [(1, 8), (3, 24), (99, 64), (-1, 8), (1e300, 64), (10**400, 64), (True, 8)]
)
def test_images_are_charged_each(ask, count, cost):
    """A run costs its units, and says so; nonsense is taken for the nearest number of units."""
    run = ask("POST", "/api/workflows/portrait/run", "full", json={"inputs": {"count": count}}).json()

    assert (run["success"], run["cost"], len(run["result"]["images"])) == (True, cost, cost // 8)
    assert isinstance(run["ms"], float)


def test_left_out_fields_take_their_defaults(ask):
    """A workflow without a generator shows its values."""
    runs = [
        ask("POST", "/api/workflows/no-generator/run", "full", json={"inputs": inputs}).json()
        for inputs in ({}, {"prompt": "mine"})
    ]

    assert [run["result"]["text"] for run in runs] == [["a lighthouse in fog"], ["mine"]]
    assert [run["cost"] for run in runs] == [0, 0]


@pytest.mark.parametrize("path", ["workflows/portrait", "models/seedream-v5"])
@pytest.mark.parametrize("body", [*NO_OBJECTS, {}, *({"inputs": value} for value in NO_OBJECTS)])
def test_inputs_that_are_no_object_are_refused(ask, assert_refused, path, body):
    """JSON without an object of inputs is an INVALID_INPUTS."""
    answer = ask("POST", f"/api/{path}/run", "full", content=json.dumps(body), headers=JSON_TYPE)

    assert_refused(answer, 400, "INVALID_INPUTS")


@pytest.mark.parametrize(
    "name", ["Portrait", "a_b", "a.b", "a%2Fb", "%00", "%ff", "%", "%zz", "a%0A", "a%20b"]
)
@pytest.mark.parametrize("kind", ["workflows", "models"])
def test_name_with_other_characters_is_refused(ask, assert_refused, kind, name):
    """Lowercase letters, digits and hyphens make a name, however it is encoded."""
    path = (
        httpx.URL("http://x")
        .copy_with(raw_path=f"/api/{kind}/{name}/run".encode())
        .raw_path.decode("latin-1")
    )

    assert_refused(ask("POST", path, "full", json={"inputs": {}}), 400, "INVALID_SLUG")


@pytest.mark.parametrize("slug", ["unknown", "stranger-private", "starter-template", "bea-portrait"])
def test_workflow_of_nobody_or_someone_else_does_not_run(ask, assert_refused, slug):
    """One runs one's own workflows only."""
    assert_refused(ask("POST", f"/api/workflows/{slug}/run", "full", json={"inputs": {}}), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("persona", "run", "answer"),
    [
        ("full", "unknown/run", (404, "MODEL_NOT_FOUND")),
        ("full", "retired-model/run", (404, "MODEL_NOT_FOUND")),
        ("business", "enterprise-model/run", (403, "MODEL_TIER_REQUIRED")),
        ("pro-model", "seedream-v5/run", (403, "MODEL_TIER_REQUIRED")),
        ("full", "seedream-v5/run?async=true", (400, "ASYNC_NOT_SUPPORTED")),
        ("full", "claude-sonnet/run?async=true", (400, "ASYNC_NOT_SUPPORTED")),
        ("full", "failing-model/run", (500, "EXECUTION_FAILED")),
        ("broke", "suno-v5/run", (402, "INSUFFICIENT_CREDITS")),
        ("broke", "suno-v5/run?async=true", (402, "INSUFFICIENT_CREDITS")),
        ("exhausted", "suno-v5/run", (402, "grant_exhausted")),
    ],
)
def test_model_run_is_refused(ask, assert_refused, persona, run, answer):
    """Each reason has its code."""
    assert_refused(ask("POST", f"/api/models/{run}", persona, json={"inputs": {}}), *answer)


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
    """Images, videos and audios are URLs; text is text."""
    result = ask("POST", f"/api/models/{model}/run", "full", json={"inputs": {"prompt": "x"}}).json()[
        "result"
    ]

    assert list(result) == [medium]
    assert all(item.startswith("claude-sonnet" if medium == "text" else URL) for item in result[medium])


def test_administrator_is_not_held_to_tiers(ask):
    """The admin role bypasses tier gates."""
    assert ask("POST", "/api/models/enterprise-model/run", "admin", json={"inputs": {}}).status_code == 200


def test_granted_run_costs_nothing(ask):
    """A trial grant pays without a trace in cost."""
    assert ask("POST", "/api/workflows/gus-portrait/run", "granted", json={"inputs": {}}).json()["cost"] == 0


def test_failed_run_gives_its_credits_back(ask_fresh):
    """A provider's failure charges nothing."""
    ask_fresh("POST", "/api/models/failing-model/run", "business", json={"inputs": {}})

    row = ask_fresh("GET", "/api/usage?limit=1", "business").json()["rows"][0]
    assert (row["status"], row["creditsCost"], row["errorCode"]) == ("failed", 0, "EXECUTION_FAILED")


def test_concurrent_runs_do_not_overspend(shared_sandbox, mint, ask):
    """Of many runs at once exactly as many go through as there are credits for."""
    account = ask(
        "POST",
        "/__sandbox__/accounts",
        headers={"x-sandbox-token": shared_sandbox.control_token},
        json={"tier": "enterprise", "credits": 65},
    ).json()["account"]
    headers = mint("model:run", account=account)

    async def run_all():
        async with httpx.AsyncClient(base_url=shared_sandbox.base_url, headers=headers) as client:
            requests = [
                client.post("/api/models/suno-v5/run?async=true", json={"inputs": {}}) for _ in range(20)
            ]
            return await asyncio.gather(*requests)

    statuses = sorted(answer.status_code for answer in asyncio.run(run_all()))
    assert statuses == [202] * 3 + [402] * 17
