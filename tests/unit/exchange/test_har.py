"""HAR files are valid after every entry and read back unchanged; those of any tool are read, or refused."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from exchanges import entry, exchange, write_har
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.har import HarWriter, from_entry, read_har, read_traffic, to_entry

text = st.text(st.characters(codec="utf-8"), max_size=10)
pairs = st.lists(st.tuples(text.map("x".__add__), text), max_size=3).map(tuple)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST"]),
    path=text.map("/".__add__),
    query=pairs,
    headers=pairs,
    body=st.none() | st.binary(max_size=20),
    operation_id=st.none() | text,
    persona=st.none() | text,
    path_values=st.dictionaries(text, text, max_size=2),
    cost_credits=st.floats(0, 100),
)
exchanges = st.builds(
    Exchange,
    id=text,
    request=requests,
    url=text.map("https://staging.example.com/".__add__),
    sent_headers=pairs,
    status=st.none() | st.integers(100, 599),
    headers=pairs,
    body=st.binary(max_size=30) | text.map(str.encode),
    started_at=st.datetimes(timezones=st.just(UTC)),
    elapsed_ms=st.floats(0, 1e6),
    failure=st.none() | text,
    is_lost=st.booleans(),
    is_delivery=st.booleans(),
)


@given(original=exchanges)
def test_every_exchange_is_read_back(original: Exchange):
    assert from_entry(json.loads(json.dumps(to_entry(original)))) == original


@pytest.mark.parametrize("kept_share", [0.3, 0.6, 0.9, 0.99])
def test_truncated_file_is_read_up_to_its_end(tmp_path: Path, kept_share: float):
    """Only the last entry is lost."""
    path = tmp_path / "x.har"
    with HarWriter(path) as writer:
        for count in range(10):
            writer.add(exchange(200, {"n": count}))
    whole = path.read_bytes()

    path.write_bytes(whole[: int(len(whole) * kept_share)])

    numbers = [each.json()["n"] for each in read_har(path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= int(10 * kept_share) - 1


def test_entry_has_the_members_that_har_requires():
    """So that browsers and proxies open the file."""
    entry = to_entry(exchange(200, {"ok": True}))

    assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= set(entry)
    assert {"method", "url", "httpVersion", "cookies", "headers", "queryString"} <= set(entry["request"])
    assert {"headersSize", "bodySize"} <= set(entry["request"])
    assert datetime.fromisoformat(entry["startedDateTime"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("place", "name"),
    [((), "_id"), (("request",), "url"), (("response", "headers", 0), "name"), (("_request",), "path")],
)
def test_entry_with_a_null_member_is_refused(place: tuple[str | int, ...], name: str):
    """When it is read, and not when a report shows it."""
    entry = to_entry(exchange(200, {}))
    member: Any = entry
    for step in place:
        member = member[step]
    member[name] = None

    with pytest.raises(ValueError, match=name):
        from_entry(entry)


URL = "https://staging.example.com/api/whoami"
HAR = json.dumps({"log": {"version": "1.2", "entries": [entry(URL, {"a": 1})]}})
BROKEN = {
    "empty": ("", "is empty"),
    "cut short": (HAR[:-20], "cut short or not a HAR file"),
    "no JSON": ("GET /api/whoami", "not a HAR file: Expecting value: line 1 column 1"),
    "another JSON": ('{"openapi": "3.1.0"}', "without log.entries"),
    "no entries": ('{"log": {"entries": []}}', "holds no exchanges"),
    "no request": ('{"log": {"entries": [{"time": 1}]}}', "entry 1: startedDateTime"),
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

    assert says in str(refusal.value)
    assert str(refusal.value).startswith(f"{path}: ")
    assert refusal.value.exit_code is ExitCode.USAGE


def test_base64_body_after_a_byte_order_mark_is_decoded(tmp_path):
    text = base64.encodebytes(b'{"ok": true}').decode()
    content = {"size": 12, "mimeType": "application/json", "text": text, "encoding": "base64"}
    path = write_har(tmp_path / "x.har", entry(URL, content=content))
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")

    [recorded] = read_traffic(path)

    assert recorded.exchange.json() == {"ok": True}
    assert recorded.obstacle is None


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
