"""Exchanges, laid out for reading."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import exchange

from knouds_harness.reporting.check.evidence import answer_excerpt, evidence_of


def marked(body, where, **options):
    shown = evidence_of(exchange(1, "getWhoami", body=body, **options), where=where).received
    return [line.text.strip() for line in (*shown.headers, *shown.body) if line.is_marked]


USER = {"user": {"id": "u1", "tags": ["a", "b"], "a/b~c": 1}, "empty": {}}


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ("", []),
        ("/user/id", ['"id": "u1",']),
        ("/user/tags/1", ['"b"']),
        ("/user/tags", ['"tags": [', '"a",', '"b"', "],"]),
        ("/user/a~1b~0c", ['"a/b~c": 1']),
        ("/user/email", ['"user": {   ← email is missing']),
        ("/user/tags/7", ['"tags": [   ← 7 is missing']),
        ("/code", ["{   ← code is missing"]),
        ("/empty/id", ['"empty": {}   ← id is missing']),
        ("/user/id/deeper", []),
    ],
)
def test_offending_place_is_marked(where, lines):
    """A JSON pointer marks its value, or the place where the value is missing."""
    assert marked(USER, where) == lines


def test_place_in_any_item_is_marked_in_each():
    body = {"rows": [{"id": "5"}, {"id": 6}, {}]}

    assert marked(body, "/rows/*/id") == ['"id": "5"', '"id": 6', "{}   ← id is missing"]


def test_offending_header_is_marked_or_named_as_missing():
    assert marked({}, "header Content-Type") == ["content-type: application/json"]
    assert marked({}, "header Retry-After") == ["(Retry-After is missing)"]


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_layout_changes_no_value(body):
    lines = evidence_of(exchange(1, "getWhoami", body=body)).received.body

    assert json.loads("\n".join(line.text for line in lines)) == body


@given(raw=st.binary(min_size=1, max_size=200), where=st.text(max_size=20))
def test_any_bytes_can_be_shown(raw, where):
    assert evidence_of(exchange(1, "getWhoami", raw=raw), where=where).received.size_bytes == len(raw)


def test_long_body_is_cut_around_the_mark():
    shown = evidence_of(exchange(1, "listUsage", body=list(range(5000))), where="/3000").received.body

    texts = [line.text for line in shown]
    assert len(texts) < 100
    assert [line.text.strip() for line in shown if line.is_marked] == ["3000,"]
    assert sum(int(text.split()[1].replace(",", "")) for text in texts if text.startswith("…")) == 5002 - (
        len(texts) - 2
    )


def test_excerpt_of_an_answer_is_around_the_mark():
    """The status, the header at fault, and a few lines of the body."""
    body = {"rows": [{"id": number, "note": "n" * 20} for number in range(50)]}
    of_body = answer_excerpt(evidence_of(exchange(1, "listUsage", body=body), where="/rows/30/id"))
    of_header = answer_excerpt(evidence_of(exchange(1, "listUsage", body={}), where="header Retry-After"))

    assert of_body.startswith("200\n…\n")
    assert '"id": 30,' in of_body
    assert len(of_body) <= 500
    assert of_header == "200\n(Retry-After is missing)\n{}"


@pytest.mark.parametrize(
    ("raw", "begins"),
    [
        (b'"' + b"x" * 100_000 + b'"', '"xxxx'),
        (b"[" + b"[]," * 200_000 + b"[]]", "[[],[],"),
        (b"[" * 100_000 + b"]" * 100_000, "[[[["),
    ],
    ids=["a long line", "too many values", "too deep"],
)
def test_body_that_cannot_be_laid_out_is_one_line_that_is_cut(raw, begins):
    (line,) = evidence_of(exchange(1, "getWhoami", raw=raw)).received.body

    assert line.text.startswith(begins)
    assert line.text.endswith(" characters left out")
    assert len(line.text) < 600


def test_exchange_without_a_response_says_why():
    shown = evidence_of(exchange(1, "getHealth", status=None, raw=b""))

    assert shown.received.first_line == "the connection was closed before the answer"
    assert shown.received.body == ()


def test_place_in_a_delivery_is_marked_in_its_request():
    """A delivery is the target's request; what we answered is not at fault."""
    sent = (("X-Knouds-Signature", "t=1,v1=00"),)
    delivery = replace(exchange(1, "getWhoami", body=""), is_delivery=True, sent_headers=sent)

    view = evidence_of(delivery, where="header X-Knouds-Signature")

    assert [line.text for line in view.sent.headers if line.is_marked] == ["X-Knouds-Signature: t=1,v1=00"]
    assert not any(line.is_marked for line in view.received.headers)
