"""Each variant differs in its responses on open points, and only there."""

from contextlib import ExitStack

import httpx
import pytest

from knouds_sandbox.errors import UnknownName
from knouds_sandbox.serving import running_sandbox
from knouds_sandbox.variants import VARIANTS, find_variant


@pytest.fixture(scope="module")
def clients():
    """A client for each variant, and one for the sandbox without a variant (None), as ``full``."""
    with ExitStack() as stack:
        opened = {}
        for variant in (None, *(each.id for each in VARIANTS)):
            sandbox = stack.enter_context(running_sandbox(seed=1, variant=variant))
            headers = {"x-api-key": sandbox.keys["full"]}
            client = stack.enter_context(httpx.Client(base_url=sandbox.base_url, headers=headers))
            opened[variant] = (client, sandbox.keys)
        yield opened


def test_terse_create_returns_only_the_slug(clients):
    client, _ = clients["terse"]

    created = client.post("/api/workflows", json={"name": "Only a slug"})

    assert (created.status_code, created.json()) == (200, {"slug": "only-a-slug"})


def test_terse_denial_names_one_capability(clients):
    client, keys = clients["terse"]

    denied = client.get("/api/workflows", headers={"x-api-key": keys["none"]})

    assert denied.json()["required"] == "workflow:read"


def test_talkative_responses_have_new_members(clients):
    client, _ = clients["talkative"]

    body = client.get("/api/whoami").json()

    assert body["addedLater"] == body["user"]["addedLater"] == {"since": "4.14"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/me", 404),
        ("/api/workflows/Not%20a%20slug", 400),
        ("/api/workflows/stranger-private", 403),
        ("/api/usage?limit=many", 400),
        ("/api/usage?limit=2", 200),
    ],
)
def test_strict_uses_other_refusals(clients, path, status):
    client, _ = clients["strict"]

    assert client.get(path).status_code == status


@pytest.mark.parametrize(("variant", "status"), [(None, 403), ("late", 404)])
def test_late_judges_the_resource_before_the_key(clients, variant, status):
    client, keys = clients[variant]

    answer = client.get("/api/workflows/no-such-workflow", headers={"x-api-key": keys["none"]})

    assert answer.status_code == status


def test_late_judges_the_body_before_the_key(clients):
    client, keys = clients["late"]

    answer = client.post(
        "/api/workflows/portrait/run",
        content=b"{",
        headers={"x-api-key": keys["none"], "content-type": "application/json"},
    )

    assert answer.json()["code"] == "INVALID_BODY"


def test_volatile_responses_differ_in_undocumented_parts(clients):
    client, _ = clients["volatile"]

    one, other = (client.get("/api/workflows/portrait") for _ in range(2))

    assert one.headers["x-trace-id"] != other.headers["x-trace-id"]
    assert one.headers["content-encoding"] == "gzip"
    assert list(one.json()) != list(other.json())
    for part in (one.json(), one.json()["nodes"][0], one.json()["edges"][0], one.json()["viewport"]):
        assert part["trace"] == one.json()["trace"] != other.json()["trace"]
    assert one.json()["updatedAt"].endswith("+00:00")
    assert '"zoom": 1.0' in one.text
    assert set(one.json()["nodes"][0]["data"]) == {"fields"}  # users' data is unchanged


def test_volatile_sometimes_closes_the_connection(clients):
    client, _ = clients["volatile"]

    answers = [client.get("/api/health") for _ in range(20)]

    assert [each.headers.get("connection") for each in answers].count("close") == 1
    assert {each.json()["status"] for each in answers} == {"ok"}


def test_volatile_compresses_only_if_accepted(clients):
    client, _ = clients["volatile"]

    answer = client.get("/api/health", headers={"accept-encoding": "identity"})

    assert "content-encoding" not in answer.headers


def test_unknown_variant_suggests_the_nearest():
    with pytest.raises(UnknownName, match='Did you mean "terse"'):
        find_variant("ters")
