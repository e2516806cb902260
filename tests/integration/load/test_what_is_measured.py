"""What runs keep beside times: ends learnt from webhooks, exchanges as evidence, another client."""

import pytest
from loading import load

CLOSED = ("--users", "3", "--duration", "3s", "--quiet")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs"


@pytest.mark.nightly
def test_ends_come_by_webhook(folder):
    """Each cycle takes its delivery, asks once, and says how late it was."""
    cycles = load(folder, "async_cycles", "--finish", "webhook", *CLOSED).results.cycles

    assert cycles is not None
    assert cycles.endings
    assert cycles.webhook_delay.count == sum(cycles.endings.values())
    assert cycles.polls == {}
    assert cycles.undelivered == 0


@pytest.mark.nightly
def test_delivery_with_a_wrong_signature_is_polled_for_instead(folder):
    """It is not believed, and the report says so; a delivery is waited for as long as a run may take."""
    loaded = load(
        folder,
        *("async_cycles", "--finish", "webhook", "--fault", "webhook-signature-without-time", *CLOSED),
        *("--", "--stop-timeout", "1"),  # or every user waits on
    )

    assert "an invalid signature" in loaded.results.note
    assert loaded.results.cycles is not None
    assert loaded.results.cycles.webhook_delay.count == 0


@pytest.mark.nightly
def test_target_that_cannot_reach_this_machine_is_polled(folder, profile):
    loaded = load(folder, "async_cycles", "--finish", "webhook", "--target", profile, *CLOSED)

    assert "Completion was detected by polling instead of webhook: " in loaded.out
    assert loaded.results.cycles is not None
    assert loaded.results.cycles.polls


@pytest.mark.nightly
def test_answers_that_were_not_kept_are_evidence(folder):
    loaded = load(folder, "reads", "--fault", "pricing-is-404", "--rate", "60", "--duration", "2s", "--quiet")

    (pricing,) = (each for each in loaded.results.operations if each.operation == "getPublicPricing")
    (error,) = pricing.errors
    assert (error.status, error.status_code) == ("wrong", 404)
    exchange = loaded.record.exchange_by_id[error.exchanges[0]]
    assert exchange.request.path == "/api/pricing/public"
    assert exchange.status == 404
    assert len(loaded.record.exchange_by_id) <= 3


def test_fast_client_sends_the_same(folder):
    """FastHttpUser's client under our scenario: same operations, same outcomes."""
    loaded = load(folder, "mixed", "--client", "fast", "--verify", *CLOSED)

    assert loaded.results.plan.client == "fast"
    assert loaded.results.operations
    assert [(each.operation, each.errors) for each in loaded.results.operations if each.errors] == []
    assert "Traceback" not in loaded.err
