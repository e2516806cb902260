"""Recordings are read, or refused in one message that names the file, and served to clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
from dataclasses import replace

import httpx
import pytest
import respx
from recorded import FOLDER, recording, recordings

from knouds_harness.errors import RecordingError
from knouds_harness.exchange.recording import read_recording, write_recording
from knouds_harness.testing import RecordedTransport, add_recorded_routes, load_recordings

NAME = "getWhoami-401-legacy"


@pytest.fixture
def file(tmp_path):
    return shutil.copy(FOLDER / f"{NAME}.json", tmp_path / f"{NAME}.json")


def test_recordings_are_written_as_they_were_read(tmp_path):
    written = {name: write_recording(tmp_path, each).read_bytes() for name, each in recordings().items()}

    assert written == {name: (FOLDER / f"{name}.json").read_bytes() for name in recordings()}


def test_bodies_of_any_bytes_are_kept(tmp_path):
    for body in (b"", b"\xff\x00", "ä\u2028\n".encode(), b" " * 20_000, b"{{key:full}}"):
        whoami = recording("getWhoami-200-user")
        spoken = replace(whoami, exchange=replace(whoami.exchange, body=body))

        assert read_recording(write_recording(tmp_path, spoken)).exchange.body == body


def spoilt(file, change, *, is_signed_again=False):
    content = json.loads(file.read_text())
    change(content)
    if is_signed_again:
        del content["sha256"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    file.write_text(json.dumps(content))


EDITED = {
    "status": lambda content: content["response"].update(status=403),
    "more": lambda content: content.update(note="edited"),
    "no checksum": lambda content: content.pop("sha256"),
    "other checksum": lambda content: content.update(sha256=7),
}
OF_ANOTHER_SHAPE = {
    "no request": lambda content: content.pop("request"),
    "a number": lambda content: content["request"].update(headers=7),
    "no time": lambda content: content["origin"].update(recorded_at="soon"),
}


@pytest.mark.parametrize("what", EDITED)
def test_recording_edited_by_hand_is_refused(file, what):
    spoilt(file, EDITED[what])

    with pytest.raises(RecordingError, match=r": was edited by hand(.|\n)* knouds-harness record --update"):
        read_recording(file)


@pytest.mark.parametrize("what", OF_ANOTHER_SHAPE)
def test_recording_of_another_shape_is_refused(file, what):
    """Even if its checksum fits."""
    spoilt(file, OF_ANOTHER_SHAPE[what], is_signed_again=True)

    with pytest.raises(RecordingError, match=f"{file}: is cut short or not a recording"):
        read_recording(file)


def test_other_layout_is_not_an_edit(file):
    spoilt(file, lambda _: None)

    assert read_recording(file) == recording(NAME)


def test_recording_of_another_version_or_name_is_refused(file):
    with pytest.raises(RecordingError, match=r"is of contract version 4\.13\.0, but the document is 5\.0\.0"):
        read_recording(file, contract_version="5.0.0")
    with pytest.raises(RecordingError, match=f"was renamed by hand: it holds {NAME}"):
        read_recording(file.rename(file.with_name("getWhoami-401-revoked.json")))


RECORDINGS = load_recordings()
WHOAMI = RECORDINGS["getWhoami-200-user"]
POLLS = (RECORDINGS["getExecution-200-processing"], RECORDINGS["getExecution-200-completed"])


def get(transport, path):
    with httpx.Client(transport=transport, base_url="https://any.example") as client:
        return client.get(path)


def test_async_client_gets_the_same_answer():
    async def ask():
        async with httpx.AsyncClient(transport=RecordedTransport(WHOAMI)) as client:
            return await client.get("https://any.example/api/whoami")

    assert asyncio.run(ask()).content == WHOAMI.exchange.body


def test_responses_to_one_request_come_in_turn():
    """Each once; one poll too many fails, and unused responses are named."""
    transport = RecordedTransport(*POLLS)
    path = POLLS[0].exchange.request.path

    assert get(transport, path).json()["status"] == "processing"
    assert transport.unused == ("getExecution-200-completed",)
    assert get(transport, path).json()["status"] == "completed"
    with pytest.raises(AssertionError, match=re.escape(f"GET {path}: sent more often than recorded")):
        get(transport, path)


@pytest.mark.parametrize(
    ("name", "path", "recorded"),
    [
        ("getWhoami-200-user", "/api/whoami?page=1", "GET /api/whoami"),
        ("getWhoami-200-user", "/api/health", "GET /api/whoami"),
        ("listUsage-200-page", "/api/usage", "GET /api/usage?limit="),
    ],
)
def test_other_request_fails(name, path, recorded):
    with pytest.raises(AssertionError, match=re.escape(f"not recorded; there are {recorded}")):
        get(RecordedTransport(RECORDINGS[name]), path)


def test_respx_gets_one_route_for_each_request():
    """So that ``assert_all_called`` finds a request that was not sent."""
    with respx.mock(assert_all_called=False) as router:
        add_recorded_routes(router, WHOAMI, *POLLS)
        statuses = [httpx.get(POLLS[0].exchange.url).json()["status"] for _ in POLLS]

        assert [route.called for route in router.routes] == [False, True]
    assert statuses == ["processing", "completed"]


def test_delivery_and_empty_folder_are_refused(tmp_path):
    delivery = next(each for each in RECORDINGS.values() if each.kind == "delivery")
    with pytest.raises(RecordingError, match="is a webhook delivery"):
        RecordedTransport(delivery)
    with pytest.raises(RecordingError, match="holds no recordings"):
        load_recordings(tmp_path)
