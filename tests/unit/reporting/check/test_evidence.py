"""Exchanges, laid out for reading."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import exchange

from knouds_harness.reporting.check.evidence import evidence_of


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


ROWS = {"rows": [{"id": number, "note": "n" * 20, "cost": {"credits": 8}} for number in range(50)]}


def excerpt(where, body=ROWS):
    return evidence_of(exchange(1, "listUsage", body=body), where=where).excerpt.text


def test_excerpt_of_an_answer_is_around_the_mark():
    """The status, the header at fault, and a few lines of the body."""
    of_body = excerpt("/rows/30/id")

    assert of_body.startswith("200\n… ")
    assert '"id": 30,' in of_body
    assert len(of_body) <= 500
    assert excerpt("header Retry-After", {}) == "200\n(Retry-After is missing)\n{}"


def test_excerpt_at_an_object_is_that_object():
    assert excerpt("/rows/30/cost") == '200\n{\n  "credits": 8\n}'


def test_excerpt_at_a_list_has_an_item_in_each_line():
    status, *items, more = excerpt("/rows").splitlines()

    assert (status, more[-1:]) == ("200", "…")
    assert [each[:9] for each in items[:2]] == ['{"id": 0,', '{"id": 1,']


def test_place_of_a_strangers_record_is_no_number_that_python_refuses():
    assert excerpt(f"/rows/{'9' * 5000}").startswith("200\n")


def test_evidence_tells_its_steps_and_what_it_was_compared_with():
    """An id in a path says nothing to a reader, a key only if it is another one."""

    def about(number, operation_id, **answer):
        sent = exchange(number, operation_id, **answer)
        path = sent.request.path.replace("portrait", "11111111-2222-4333-8444-555555555555")
        return replace(sent, request=replace(sent.request, path=path))

    cancel = about(4, "cancelExecution", persona="few", status=409, body={"code": "ENDED"})
    polls = [
        about(number, "getExecution", body={"status": status})
        for number, status in [(2, "processing"), (3, "processing"), (5, "cancelled")]
    ]

    view = evidence_of(
        polls[2], where="/status", steps=[*polls[:2], cancel, polls[2]], compared=[(polls[1], "/status")]
    )

    assert [(each.id, each.request, each.came) for each in view.steps] == [
        ("x00002", "GET /api/executions/…", "processing"),
        ("x00003", "GET /api/executions/…", "processing"),
        ("x00004", "POST /api/executions/…/cancel as few", "409 ENDED"),
        ("x00005", "GET /api/executions/…", "cancelled"),
    ]
    (compared,) = view.compared
    assert view.excerpt.title == "Response to step 4, x00005, /status:"
    assert compared.title == "Compared with step 2, x00003, /status:"
    assert [line.text.strip() for line in compared.lines if line.is_marked] == ['"status": "processing"']


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
