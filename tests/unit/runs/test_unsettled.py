"""What a run notes of usage that was not settled when it ended."""

import json
from datetime import UTC, datetime

import pytest

from knouds_harness.runs.unsettled import UNSETTLED_FILE, UnsettledUsage, unsettled_format, unsettled_in

NOTED = UnsettledUsage(
    base_url="https://staging.example.com",
    settles_at=datetime(2026, 11, 25, 10, tzinfo=UTC),
    counted_credits=8.0,
    marks={"ada": ("1", "2")},
)


@pytest.fixture(autouse=True)
def _own_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_note_of_this_user_is_read(tmp_path):
    (tmp_path / UNSETTLED_FILE).write_bytes(unsettled_format().dump_json(NOTED.signed()))

    assert unsettled_in(tmp_path) == NOTED.signed()


@pytest.mark.parametrize(
    "changes",
    [{"signature": ""}, {"signature": "0" * 64}, {"signature": "é"}, {"counted_credits": 0.0}, {"marks": {}}],
    ids=str,
)
def test_note_of_somebody_else_is_none(tmp_path, changes):
    """Otherwise it could have charges reported that no run of this user had."""
    forged = json.loads(unsettled_format().dump_json(NOTED.signed())) | changes
    (tmp_path / UNSETTLED_FILE).write_text(json.dumps(forged))

    assert unsettled_in(tmp_path) is None
