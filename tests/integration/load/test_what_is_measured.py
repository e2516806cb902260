"""Exchanges of a load run as evidence."""

import pytest
from loading import load

CLOSED = ("--users", "3", "--duration", "3s", "--quiet")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.mark.nightly
def test_failed_responses_are_kept_as_evidence(folder):
    loaded = load(folder, "reads", "--fault", "pricing-is-404", "--rate", "60", "--duration", "2s", "--quiet")

    (pricing,) = (each for each in loaded.results.operations if each.operation == "getPublicPricing")
    (error,) = pricing.errors
    assert (error.status, error.status_code) == ("wrong", 404)
    exchange = loaded.record.exchange_by_id[error.exchanges[0]]
    assert exchange.request.path == "/api/pricing/public"
    assert exchange.status == 404
    assert len(loaded.record.exchange_by_id) <= 3
