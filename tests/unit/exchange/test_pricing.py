"""The highest price of a run: from the profile, else from the server; without one it is not run."""

import json
from dataclasses import replace

import httpx
import pytest
from example_targets import make_target

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.pricing import Pricing, reported_charge
from knouds_harness.targets.resources import Workflow

PORTRAIT = Workflow(slug="portrait", owner="ada")


def test_price_in_the_profile_wins(client_answering):
    client = client_answering(pytest.fail)  # the server is not asked

    assert Pricing(client).worst_case(replace(PORTRAIT, cost_credits=7.5)) == 7.5


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

    assert Pricing(client).worst_case(PORTRAIT) == price


def test_null_is_a_price_of_0_without_a_generator(client_answering):
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": None}))

    assert Pricing(client).worst_case(replace(PORTRAIT, has_generator=False)) == 0


def test_server_is_not_asked_if_reading_is_not_allowed(client_answering):
    target = make_target(allow=frozenset({Action.RUN}))
    client = client_answering(httpx.Response(200, json={"estimatedCreditCost": 8}), target=target)

    assert Pricing(client).worst_case(PORTRAIT) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32-le"])
@pytest.mark.parametrize(
    ("text", "charge"),
    [
        ('{"success": true, "result": {}, "cost": 3}', 3),
        ('{"success": true, "result": {}, "cost": 3, "cost": 2}', None),
        (r'{"success": true, "result": {}, "cost": 3, "co\u0073t": 2}', None),
        ('{"success": true, "result": {"cost": 9}, "cost": 3}', 3),
        ('{"success": true, "cost": 3, "executionId": "e", "executionId": "e"}', None),
        ('{"success": true, "result": {}, "cost": 3, "ms": 1, "ms": 2}', None),
        ('{"success": true, "result": [{"a": 1, "b": ":"}, [":"]], "cost": 3}', 3),
        ('{"success": true, "result": [{"a": 1, "a": 2}], "cost": 3}', None),
    ],
)
def test_charge_of_a_doubled_member_is_unknown(text, charge, encoding):
    """However its name is written; parsers differ in which of the two they take."""
    content, body = text.encode(encoding), json.loads(text)

    told = reported_charge(200, content, body, most_credits=5, is_to_run=True, is_granted=False)

    assert told == charge
