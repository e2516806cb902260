"""What a run notes of usage that was not settled when it ended."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self

import pytest

from knouds_harness.exchange.usage import ShownCharges
from knouds_harness.runs.unsettled import (
    UNSETTLED_FILE,
    UnsettledUsage,
    settle,
    settle_earlier,
    unsettled_format,
    unsettled_in,
)

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


class Charges:
    """What usage shows by now, of runs that a later one of the account may be among."""

    def __init__(self, **shown: Any) -> None:
        self._shown = ShownCharges(**shown)
        self.until: datetime | None = None

    def __call__(self, _send: object, _marks: object, *, until: datetime) -> Self:
        self.until = until
        return self

    def begin(self, *_: object) -> None:
        """Read nothing."""

    def read(self, **_: object) -> ShownCharges:
        return self._shown


@pytest.fixture
def settling(monkeypatch):
    """Note usage in a run's folder, let usage show other charges, and return a client."""

    def settling(folder, noted, charges, users=()):
        (folder / UNSETTLED_FILE).write_bytes(unsettled_format().dump_json(noted.signed()))
        monkeypatch.setattr("knouds_harness.runs.unsettled.ChargesShown", charges)
        monkeypatch.setattr("knouds_harness.runs.unsettled.rewrite_usage", lambda *_: 100.0)
        personas = {user: SimpleNamespace(user=user) for user in users}
        target = SimpleNamespace(base_url=NOTED.base_url)
        return SimpleNamespace(target=target, send=None, personas=personas)

    return settling


@pytest.mark.parametrize(
    ("charges", "runs", "says"),
    [
        pytest.param(
            Charges(credits=16, rows=2, later_credits=8, later_rows=1),
            1,
            "charged 8 credits (usage); since then, later runs were charged 8",
            id="a later run of the account",
        ),
        pytest.param(
            Charges(credits=16, rows=2),
            1,
            "charged at most 16 credits (usage; other clients of the account may be in it), not 8 as counted",
            id="one at the same time",
        ),
        pytest.param(
            Charges(credits=8, rows=1, later_credits=8, later_rows=1),
            1,
            "charged 8 credits (usage)",
            id="a clock that tells nothing",
        ),
        pytest.param(
            Charges(credits=15, rows=2, later_credits=8, later_rows=1),
            1,
            "charged 7 credits (usage); since then, later runs were charged 8",
            id="less than was counted",
        ),
        pytest.param(Charges(credits=9, rows=1), 1, "charged 9 credits (usage), not 8 as", id="its own"),
        pytest.param(Charges(credits=8, rows=2), None, "charged 8 credits (usage)", id="not counted"),
    ],
)
def test_charges_of_other_runs_are_not_told_as_its_own(tmp_path, settling, charges, runs, says):
    """By when they were created, and by how many there are, as far as that is known."""
    noted = replace(NOTED, ended_at=NOTED.settles_at, rows=1, runs=runs)

    told, _ = settle(tmp_path, settling(tmp_path, noted, charges))

    assert told.removeprefix(f"{tmp_path}: ").startswith(says)
    assert charges.until == NOTED.settles_at + timedelta(seconds=2)
    assert not (tmp_path / UNSETTLED_FILE).exists()


@pytest.mark.parametrize(
    ("users", "settles_in_s", "is_told"),
    [({"ada", "bea"}, -1, True), ({"bea"}, -1, False), ({"ada"}, 60, False)],
    ids=["its accounts", "another profile's accounts", "too early"],
)
def test_earlier_runs_are_told_if_usage_of_their_accounts_is_settled(
    tmp_path, settling, users, settles_in_s, is_told
):
    """Otherwise there is nothing to say of them, and they are kept for a later command."""
    noted = replace(NOTED, settles_at=datetime.now(UTC) + timedelta(seconds=settles_in_s))
    (run := tmp_path / "earlier").mkdir()
    client = settling(run, noted, Charges(credits=8, rows=1), users)

    told = list(settle_earlier(tmp_path, client))

    assert told == ([f"{run}: charged 8 credits (usage)"] if is_told else [])
    assert (run / UNSETTLED_FILE).exists() is not is_told


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
