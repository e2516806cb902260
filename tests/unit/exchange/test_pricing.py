"""The highest price of a run: from the profile, else from the server; without one it is not run."""

from dataclasses import replace

import httpx
import pytest
from example_targets import make_target

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.pricing import Pricing
from knouds_harness.targets.resources import Model, Workflow

PORTRAIT = Workflow(slug="portrait", owner="ada")


def test_price_in_the_profile_wins(client_answering):
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    client = client_answering(refuse)

    assert Pricing(client.send, client.target).worst_case(replace(PORTRAIT, cost_credits=7.5)) == 7.5


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        (httpx.Response(200, json={"fields": [], "estimatedCreditCost": 8}), 8),
        (httpx.Response(200, json={"fields": [], "estimatedCreditCost": None}), None),
        (httpx.Response(200, json={"fields": []}), None),
        (httpx.Response(200, json={"estimatedCreditCost": "8"}), None),
        (httpx.Response(200, json={"estimatedCreditCost": -8}), None),
        (httpx.Response(200, json=[]), None),
        (httpx.Response(404, json={"error": "no", "code": "NOT_FOUND"}), None),
    ],
)
def test_server_estimate_counts_otherwise(client_answering, answer: httpx.Response, price: float | None):
    client = client_answering(answer)

    assert Pricing(client.send, client.target).worst_case(PORTRAIT) == price


def test_null_is_a_price_of_0_without_a_generator(client_answering):
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": None}))

    assert Pricing(client.send, client.target).worst_case(replace(PORTRAIT, has_generator=False)) == 0


def test_server_is_not_asked_if_reading_is_not_allowed(client_answering):
    target = make_target(allow=frozenset({Action.RUN}))
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": 8}), target=target)

    assert Pricing(client.send, target).worst_case(PORTRAIT) is None


def test_server_is_asked_once(client_answering):
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"estimatedCreditCost": 8})

    client = client_answering(answer)
    pricing = Pricing(client.send, client.target)
    for _ in range(3):
        pricing.worst_case(PORTRAIT)

    assert asked == ["/api/workflows/portrait/schema"]


def test_workflow_that_no_key_can_read_has_no_price(client_answering):
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": 8}), target=make_target())

    assert Pricing(client.send, client.target).worst_case(replace(PORTRAIT, owner="sam")) is None


def test_model_without_a_price_in_the_profile_has_no_price(client_answering):
    client = client_answering(httpx.Response(200, json={}))

    assert Pricing(client.send, client.target).worst_case(Model(name="suno-v5")) is None
