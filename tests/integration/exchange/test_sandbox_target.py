"""The built-in target starts its own server, and its profile says what that server has."""

import json

import psutil
import pytest

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.exchange.first_contact import first_contact
from knouds_harness.exchange.minting import KeyMint
from knouds_harness.exchange.pricing import Pricing
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


def test_control_token_is_no_argument_of_any_process(target):
    """What arguments say, every user of the machine can read."""
    assert target.control is not None
    arguments = [part for each in psutil.Process().children(recursive=True) for part in each.cmdline()]

    assert "knouds_sandbox" in arguments
    assert not any(target.control.secret.reveal() in part for part in arguments)


def run(client: Client, path: str, persona: str, inputs: object, cost_credits: float):
    return client.send(
        Request(
            method="POST",
            path=path,
            persona=persona,
            headers=(("content-type", "application/json"),),
            body=json.dumps({"inputs": inputs}).encode(),
            action=Action.RUN,
            cost_credits=cost_credits,
        )
    )


def test_every_key_is_what_the_profile_says(client: Client, target):
    for persona in target.personas.values():
        answer = client.send(
            Request(method="GET", path="/api/whoami", persona=persona.name, action=Action.READ)
        )
        if persona.state == "active":
            user = answer.json()["user"]
            assert (user["tier"], user["role"]) == (persona.tier, persona.role)
        else:
            assert answer.status == 401


def test_no_run_costs_more_than_announced(client: Client, target):
    pricing = Pricing(client.send, target)
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


def test_minted_key_holds_what_was_asked(client: Client, target):
    mint = KeyMint(client)

    persona = mint.mint({"workflow:read"}, account="ada")
    listed = client.send(
        Request(method="GET", path="/api/workflows", persona=persona.name, action=Action.READ)
    )
    refused = run(client, "/api/workflows/portrait/run", persona.name, {}, 0)

    assert listed.status == 200
    assert (refused.status, refused.code) == (403, "CAPABILITY_DENIED")
    assert dict(listed.sent_headers)["x-api-key"] == f"{{{{key:{persona.name}}}}}"
    assert mint.mint({"workflow:read"}, account="ada") is persona


def test_minted_revoked_key_is_refused(client: Client, target):
    persona = KeyMint(client).mint({"workflow:read"}, account="ada", state="revoked")

    answer = client.send(Request(method="GET", path="/api/whoami", persona=persona.name, action=Action.READ))

    assert answer.status == 401


def test_keys_are_minted_for_an_opened_account(client: Client, target):
    mint = KeyMint(client)

    persona = mint.mint({"workflow:read"}, account=mint.open_account("free"))
    answer = client.send(Request(method="GET", path="/api/whoami", persona=persona.name, action=Action.READ))

    assert persona.tier == "free"
    assert answer.json()["user"]["tier"] == "free"


def test_clock_opens_the_next_window(client: Client, target):
    def remaining() -> int:
        answer = run(client, "/api/workflows/pia-portrait/run", "pro", {}, 100)
        return int(answer.header("x-ratelimit-remaining") or -1)

    before = [remaining(), remaining()]
    KeyMint(client).advance_clock(60)

    assert before[1] == before[0] - 1
    assert remaining() >= before[0]


def test_unknown_account_cannot_be_minted_for(client: Client, target):
    with pytest.raises(UsageError, match='no persona of account "nobody"'):
        KeyMint(client).mint(set(), account="nobody")


def test_unknown_fault_is_named():
    with pytest.raises(UsageError, match='no fault "nope"'), open_target("sandbox", faults=["nope"]):
        pass


def test_sandbox_ends_with_its_context():
    with open_target("sandbox", environ={}) as target, Client(target=target) as client:
        assert first_contact(client).status == 200
        url = target.base_url

    with Client(target=target) as client:
        assert "nothing listens" in str(
            client.send(Request(method="GET", path="/api/health", action=Action.READ)).failure
        ), url


def test_other_targets_take_no_faults():
    with (
        pytest.raises(UsageError, match="options of the sandbox alone"),
        open_target("staging", faults=["auth-revoked-accepted"]),
    ):
        pass
