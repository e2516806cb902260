"""The built-in target starts its own server, and its profile describes that server."""

import json

import pytest

from knouds_harness.errors import UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.exchange.profile_check import first_contact
from knouds_harness.targets.builtin import open_target


@pytest.fixture(scope="module")
def target():
    with open_target("sandbox", environ={}, seed=7) as target:
        yield target


@pytest.fixture(scope="module")
def client(target):
    with Client(target=target) as client:
        first_contact(client)
        yield client


def run(client: Client, path: str, persona: str, inputs: object, cost_credits: float):
    return client.send(
        Request(
            method="POST",
            path=path,
            persona=persona,
            headers=(("content-type", "application/json"),),
            body=json.dumps({"inputs": inputs}).encode(),
            cost_credits=cost_credits,
        )
    )


def test_no_run_costs_more_than_announced(client: Client, target):
    pricing = Pricing(client)
    users = {persona.user: persona.name for persona in target.personas.values() if persona.state == "active"}
    users["ada"] = "full"

    for model in target.models.values():
        answer = run(client, f"/api/models/{model.name}/run", "full", model.inputs, model.cost_credits or 0)
        assert answer.status == (404 if model.disabled else 500 if model.fails else 200)
        assert answer.status != 200 or answer.json()["cost"] == model.cost_credits
    for workflow in target.workflows.values():
        price = pricing.worst_case(workflow)
        assert price is not None
        if workflow.owner == "ada":
            answer = run(client, f"/api/workflows/{workflow.slug}/run", "full", workflow.inputs, price)
            assert answer.status == (500 if workflow.fails else 200)
            assert answer.status != 200 or answer.json()["cost"] <= price


def test_minted_key_holds_the_requested_capabilities(client: Client, target):
    mint = KeyMint(client)

    persona = mint.mint({"workflow:read"}, account="ada")
    listed = client.send(Request(method="GET", path="/api/workflows", persona=persona.name))
    refused = run(client, "/api/workflows/portrait/run", persona.name, {}, 0)

    assert listed.status == 200
    assert (refused.status, refused.code) == (403, "CAPABILITY_DENIED")
    assert dict(listed.sent_headers)["x-api-key"] == f"{{{{key:{persona.name}}}}}"
    assert mint.mint({"workflow:read"}, account="ada") is persona


def test_key_of_an_unknown_account_cannot_be_minted(client: Client, target):
    with pytest.raises(UsageError, match='no persona of account "nobody"'):
        KeyMint(client).mint(set(), account="nobody")


def test_sandbox_ends_with_its_context():
    with open_target("sandbox", environ={}) as target, Client(target=target) as client:
        assert first_contact(client).status == 200
        url = target.base_url

    with Client(target=target) as client:
        assert "nothing listens" in str(client.send(Request(method="GET", path="/api/health")).failure), url


def test_other_targets_take_no_faults():
    with (
        pytest.raises(UsageError, match="are for the sandbox only"),
        open_target("staging", faults=("auth-revoked-accepted",)),
    ):
        pass
