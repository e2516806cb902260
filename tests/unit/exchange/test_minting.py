"""By how much the clock of the windows had been moved when a response was given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
from exchanges import exchange

from knouds_harness.exchange import minting


def test_response_is_read_by_the_clock_of_its_time(client_answering, monkeypatch):
    """It may be judged only after another test has moved the clock."""
    monkeypatch.setattr(minting, "ask_control", lambda *_: {})
    mint = minting.KeyMint(client_answering(httpx.Response(200)))
    before = replace(exchange(200, {}), started_at=datetime.now(UTC), elapsed_ms=0)

    mint.advance_clock(60)

    beside = replace(before, elapsed_ms=60_000)
    after = replace(before, started_at=datetime.now(UTC) + timedelta(seconds=1))
    assert [mint.advanced_at_s(each) for each in (before, beside, after)] == [0, None, 60]
