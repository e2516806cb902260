"""A recording's file changes only if something changed that a client could rely on."""

import json
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from recorded import FOLDER, recording

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.recording import write_recording
from knouds_harness.exchange.recording_folder import RecordingChange, RecordingFolder, differences, noticed

WHOAMI = recording("getWhoami-200-user")
POLL = recording("getExecution-200-completed")
LIMITED = recording("runWorkflow-200-first-of-window")


def answering(recording, *, status=None, headers=None, **members):
    """Return the recording with another response; a member that is ... is left out."""
    exchange = recording.exchange
    body = {name: value for name, value in {**exchange.json(), **members}.items() if value is not ...}
    return replace(
        recording,
        exchange=replace(
            exchange,
            body=json.dumps(body).encode(),
            status=status or exchange.status,
            headers=exchange.headers if headers is None else headers,
        ),
    )


@pytest.mark.parametrize(
    "again",
    [
        answering(POLL, executionId=str(uuid.UUID(int=1)), requestId="req_0123456789abcdef0123456789abcdef"),
        answering(POLL, createdAt="2027-01-01T00:00:00Z", endedAt="2027-01-01T00:00:01.5+01:00"),
        answering(LIMITED, ms=77),
        answering(
            LIMITED, headers=tuple((n, "17" if "reset" in n else v) for n, v in LIMITED.exchange.headers)
        ),
        replace(POLL, exchange=replace(POLL.exchange, elapsed_ms=99.0)),
        replace(
            POLL, origin=replace(POLL.origin, seed=99, recorded_at=POLL.origin.recorded_at + timedelta(1))
        ),
    ],
)
def test_other_ids_times_and_measures_are_not_a_change(again):
    before = POLL if again.operation == "getExecution" else LIMITED

    assert list(differences(before, again)) == []


@pytest.mark.parametrize(
    ("again", "line"),
    [
        (answering(POLL, status=202), "response status is 202, was 200"),
        (answering(POLL, cost="15"), 'response body cost is "15", was 15'),
        (answering(POLL, cost=...), "response body cost is gone, was 15"),
        (answering(POLL, more=True), "response body more is new: true"),
        (answering(POLL, executionId="exec-1"), 'response body executionId is "exec-1", was "<uuid>"'),
        (answering(POLL, endedAt=None), 'response body endedAt is null, was "<instant>"'),
        (answering(LIMITED, ms="77"), 'response body ms is "77", was "<number>"'),
        (answering(LIMITED, headers=()), 'response headers x-ratelimit-limit is gone, was "100"'),
        (replace(POLL, facts=()), 'facts execution.poll-shape is gone, was "execution.poll-shape"'),
        (replace(POLL, says="Otherwise."), f'says is "Otherwise.", was "{POLL.says}"'),
    ],
)
def test_difference_that_a_client_could_notice_is_a_change(again, line):
    before = POLL if again.operation == "getExecution" else LIMITED

    assert line in list(differences(before, again))


def test_client_notices_only_responses():
    """It sees no facts, words or requests of the recorder, and no framing of a body."""
    headers = (*POLL.exchange.headers, ("transfer-encoding", "chunked"), ("x-more", "1"))
    again = answering(POLL, status=404, headers=headers, cost=..., code="GONE")
    again = replace(again, facts=(), says="Otherwise.", exchange=replace(again.exchange, sent_headers=()))

    assert noticed(POLL, again) == [
        "response status is 404, was 200",
        "response body cost is gone, was 15",
        'response headers x-more is new: "1"',
        'response body code is new: "GONE"',
    ]
    assert noticed(POLL, replace(POLL, facts=())) == []


def test_what_the_past_and_the_clock_decide_is_not_a_change():
    """Capabilities that the profile learns of, how long a server is up, and which rows usage has."""
    health, usage = recording("getHealth-200-up"), recording("listUsage-200-rows")
    rows = usage.exchange.json()["rows"]

    assert list(differences(answering(health, uptimeSeconds=1), answering(health, uptimeSeconds=99))) == []
    assert list(differences(usage, answering(usage, rows=[*rows, *rows]))) == []
    assert list(differences(WHOAMI, replace(WHOAMI, held=("workflow:read",)))) == []
    assert list(differences(usage, answering(usage, rows=[{**rows[0], "more": 1}]))) != []


def test_only_a_changed_recording_replaces_its_file(tmp_path):
    """And its name, which has the status."""
    path = write_recording(tmp_path, WHOAMI)
    before = path.read_bytes()

    (put,) = RecordingFolder.open(tmp_path).put([replace(WHOAMI, origin=replace(WHOAMI.origin, seed=7))])
    assert put.change is RecordingChange.UNCHANGED
    assert path.read_bytes() == before

    (put,) = RecordingFolder.open(tmp_path).put([answering(WHOAMI, status=203)])
    assert (put.change, put.lines) == (RecordingChange.CHANGED, ("response status is 203, was 200",))
    assert [path.name for path in tmp_path.iterdir()] == ["getWhoami-203-user.json"]


def test_recordings_of_one_story_are_replaced_together_or_not_at_all(tmp_path):
    """They share ids, which would no longer agree."""
    submit = recording("runModel-202-accepted")
    before = {path.name: path.read_bytes() for path in (write_recording(tmp_path, e) for e in (submit, POLL))}
    again = [answering(submit, executionId=str(uuid.uuid4())), answering(POLL, cost=1)]

    (half,) = RecordingFolder.open(tmp_path).put(again[1:])
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    puts = RecordingFolder.open(tmp_path).put(again)

    assert (half.change, after) == (RecordingChange.LEFT, before)
    assert half.lines
    assert [put.change for put in puts] == [RecordingChange.WITH_STORY, RecordingChange.CHANGED]


def test_damaged_file_is_listed_and_recorded_anew(tmp_path):
    path = write_recording(tmp_path, WHOAMI)
    path.write_text(path.read_text().replace("ada", "eve"))
    folder = RecordingFolder.open(tmp_path)

    (put,) = folder.put([WHOAMI])

    assert list(folder.damaged) == [path]
    assert put.change is RecordingChange.NEW
    assert RecordingFolder.open(tmp_path).damaged == {}


def test_recordings_of_the_repository_are_usable():
    assert RecordingFolder.open(FOLDER, contract_version=shipped_document().version).damaged == {}
