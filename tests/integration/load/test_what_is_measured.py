"""Further data of a load run: ends learnt by webhook, exchanges as evidence, another client."""

import pytest
from loading import load

CLOSED = ("--users", "3", "--duration", "3s", "--quiet")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.mark.nightly
def test_ends_of_runs_are_learnt_by_webhook(folder):
    """Each cycle takes its delivery, polls once, and records how late the delivery was."""
    cycles = load(folder, "async_cycles", "--finish", "webhook", *CLOSED).results.cycles

    assert cycles is not None
    assert cycles.endings
    assert cycles.webhook_delay.count == sum(cycles.endings.values())
    assert cycles.polls == {}
    assert cycles.undelivered == 0


@pytest.mark.nightly
def test_runs_are_polled_if_the_target_cannot_reach_us(folder, profile):
    loaded = load(folder, "async_cycles", "--finish", "webhook", "--target", profile, *CLOSED)

    assert "Completion was detected by polling instead of webhook: " in loaded.out
    assert loaded.results.cycles is not None
    assert loaded.results.cycles.polls


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
