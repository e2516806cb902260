"""Any HAR file is read; another file is refused in one message."""

import base64
import json

import pytest
from exchanges import entry, exchange, write_har

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.traffic.har import HarWriter
from knouds_harness.exchange.traffic.traffic_file import read_traffic

URL = "https://staging.example.com/api/whoami"
HAR = json.dumps({"log": {"version": "1.2", "entries": [entry(URL, {"a": 1})]}})
BROKEN = {
    "empty": ("", "is empty"),
    "cut short": (HAR[:-20], "is cut short"),
    "no JSON": ("GET /api/whoami", "not a HAR file: Expecting value: line 1 column 1"),
    "another JSON": ('{"openapi": "3.1.0"}', "without log.entries"),
    "no entries": ('{"log": {"entries": []}}', "holds no exchanges"),
    "no request": ('{"log": {"entries": [{"time": 1}]}}', "entry 1: starteddatetime"),
    "an entry that is none": ('{"log": {"entries": [null]}}', "entry 1: it"),
    "a broken URL": (HAR.replace("https://staging.example.com", "http://[::1"), "entry 1"),
    "too deep": ("[" * 100_000, "not a HAR file: maximum recursion depth"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_file_of_something_else_is_refused(kind, tmp_path):
    text, says = BROKEN[kind]
    path = tmp_path / "traffic.har"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError) as refusal:
        read_traffic(path)

    assert says in str(refusal.value).replace("startedDateTime", "starteddatetime")
    assert str(refusal.value).startswith(f"{path}: ")
    assert refusal.value.exit_code is ExitCode.USAGE


def test_base64_body_is_decoded(tmp_path):
    text = base64.b64encode(b'{"ok": true}').decode()
    content = {"size": 12, "mimeType": "application/json", "text": text, "encoding": "base64"}

    [recorded] = read_traffic(write_har(tmp_path / "x.har", entry(URL, content=content)))

    assert recorded.exchange.json() == {"ok": True}
    assert recorded.obstacle is None


def test_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "x.har"
    path.write_text(HAR, encoding="utf-8-sig")

    assert len(read_traffic(path)) == 1


@pytest.mark.parametrize(
    ("given", "obstacle"),
    [
        (entry(URL, status=0), "no answer recorded"),
        (entry(URL, status=304), "answered from a cache"),
        (entry(URL, _fromCache="disk"), "answered from a cache"),
        (entry(URL, content={"size": 20, "mimeType": "application/json"}), "body not recorded"),
        (entry(URL, content={"size": 20, "mimeType": "", "text": '{"user": '}), "body not recorded whole"),
        (entry(URL, status=204, content={"size": 0, "mimeType": ""}), None),
    ],
)
def test_incomplete_recording_does_not_count_against_the_server(given, obstacle, tmp_path):
    [recorded] = read_traffic(write_har(tmp_path / "x.har", given))

    assert recorded.obstacle == obstacle


def test_own_file_is_read_back(tmp_path):
    with HarWriter(tmp_path / "x.har") as writer:
        writer.add(exchange(200, {"n": 1}))

    [recorded] = read_traffic(tmp_path / "x.har")

    assert recorded.is_ours
    assert recorded.exchange == exchange(200, {"n": 1})
