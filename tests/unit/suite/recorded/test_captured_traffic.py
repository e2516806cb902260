"""Captured traffic becomes recordings of what is new in it, without secrets."""

import json
from dataclasses import replace
from typing import Any

import pytest
from exchanges import entry, write_har
from recorded import document, recording

from knouds_harness.exchange.recordings.recording import BASE_URL, as_content
from knouds_harness.exchange.recordings.redaction import RecordingRedactor
from knouds_harness.exchange.traffic.har import HarWriter
from knouds_harness.suite.recorded.captured_traffic import import_recordings, read_captured

API = "https://api.shop.example"
KEY = "knouds_live_do-not-show-0123456789"
ADA: dict[str, Any] = {
    "id": "usr_ada_1",
    "email": "ada@shop.example",
    "role": "user",
    "tier": "pro",
    "approved": True,
}
UNAUTHORIZED = {"error": "Unauthorized", "code": "UNAUTHORIZED"}


def whoami(body, *, status=200):
    return entry(f"{API}/api/whoami", body, status=status, sent_headers={"x-api-key": KEY})


@pytest.fixture
def imported(tmp_path):
    def read(*entries, kept=()):
        path = write_har(tmp_path / "traffic.har", *entries)
        captured = read_captured(path, document(), base_url=None)
        return import_recordings(captured, source=path, kept=kept, document=document())

    return read


def test_each_outcome_is_kept_once(imported):
    """Outcomes differ by operation, status and code, or by the members of a success."""
    found = imported(
        whoami({"user": ADA}),
        whoami({"user": {**ADA, "tier": "business"}}),
        whoami(UNAUTHORIZED, status=401),
        whoami({"error": "Gone.", "code": "LEGACY_KEY_RETIRED"}, status=401),
        entry(f"{API}/api/health", {"status": "ok"}),
    )

    assert [each.name for each in found.recordings] == [
        "getWhoami-200-captured",
        "getWhoami-401-captured-unauthorized",
        "getWhoami-401-captured-legacy-key-retired",
        "getHealth-200-captured",
    ]
    assert found.known == 1


def test_recorded_outcome_is_left_out(imported):
    entries = [whoami({"user": ADA}), whoami(UNAUTHORIZED, status=401)]
    first = imported(*entries)

    again = imported(*entries, kept=first.recordings)

    assert (again.recordings, again.known) == ((), 2)


def test_second_outcome_of_a_status_gets_its_own_name(imported):
    """A success with other members is another outcome."""
    found = imported(
        entry(f"{API}/api/health", {"status": "ok"}),
        entry(f"{API}/api/health", {"status": "ok", "region": "eu"}),
    )

    assert [each.outcome for each in found.recordings] == ["captured", "captured-2"]


def test_response_that_breaks_a_promise_is_not_recorded(imported):
    """Replaying it would break a test on every commit."""
    found = imported(whoami({"user": {**ADA, "role": "owner"}}), whoami({"user": ADA}))

    assert [each.name for each in found.recordings] == ["getWhoami-200-captured"]
    assert len(found.broken) == 1
    assert found.broken[0].startswith(
        "x00001, getWhoami-200-captured: it breaks a promise: whoami.role-closed"
    )


@pytest.mark.parametrize("code", ["X/../../../../pwn", ".hidden", "x" * 300, "ÜBER", "a\nb", "\ud800"])
def test_code_that_is_no_name_leaves_out_its_entry_alone(imported, code):
    """It becomes part of a file's name, and whoever wrote the traffic chose it."""
    found = imported(whoami({"error": "No.", "code": code}, status=401), whoami({"user": ADA}))

    assert [each.name for each in found.recordings] == ["getWhoami-200-captured"]
    assert found.unnamed == ("x00001, getWhoami: its code is not a plain name",)


def test_recording_says_where_it_comes_from_and_shows_no_secret(imported):
    """It names file and base URL; keys, users and their addresses become pseudonyms."""
    (recording,) = imported(whoami({"user": ADA})).recordings

    assert (recording.origin.target, recording.origin.server) == ("traffic.har", BASE_URL)
    assert "whoami.user-object" in recording.facts
    for secret in (KEY, ADA["id"], ADA["email"]):
        assert secret not in json.dumps(as_content(recording))


def test_deliveries_in_our_own_traffic_are_left_out(tmp_path):
    path = tmp_path / "exchanges.har"
    with HarWriter(path) as har:
        har.add(replace(recording("getHealth-200-up").exchange, url="http://127.0.0.1:8000/api/health"))
        delivery = recording("receiveExecutionCompleted-204-taken").exchange
        har.add(replace(delivery, url="http://127.0.0.1:9000/webhook"))

    captured = read_captured(path, document(), base_url=None)

    assert [each.request.operation_id for each in captured.exchanges] == ["getHealth"]
    assert captured.base_url == "http://127.0.0.1:8000"
    assert "other hosts: 1" in captured.left_out


@pytest.mark.parametrize("text", ["x" * 2_000_000, "x." * 1_000_000, '{"a": "' + "y" * 2_000_000 + '"}'])
def test_long_text_is_redacted_in_one_pass(text):
    """A very long body must not take minutes."""
    assert RecordingRedactor().text(text) == text
