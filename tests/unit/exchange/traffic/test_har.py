"""HAR files are valid after every entry, and exchanges are read back unchanged."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from exchanges import exchange
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.exchange.traffic.har import HarWriter, from_entry, read_har, to_entry

text = st.text(st.characters(codec="utf-8"), max_size=10)
pairs = st.lists(st.tuples(text, text), max_size=3).map(tuple)
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
    assert {
        "method",
        "url",
        "httpVersion",
        "cookies",
        "headers",
        "queryString",
        "headersSize",
        "bodySize",
    } <= set(entry["request"])
    assert datetime.fromisoformat(entry["startedDateTime"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("place", "name"),
    [((), "time"), (("request",), "url"), (("response", "headers", 0), "name"), (("_request",), "path")],
)
def test_entry_with_a_null_member_is_refused(place: tuple[str | int, ...], name: str):
    """When it is read, and not when a report shows it."""
    entry = to_entry(exchange(200, {}))
    member: Any = entry
    for step in place:
        member = member[step]
    member[name] = None

    with pytest.raises(TypeError):
        from_entry(entry)
