"""Edits of responses, as the tables of faults use them."""

from typing import Any

import pytest
from starlette.requests import Request

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.faults.editing import (
    changed,
    on_answer,
    on_refusal,
    on_success,
    sent_as,
    with_header,
    with_status,
    with_value,
    without,
)


@pytest.fixture
def make_answer():
    def make_answer(body, status=200, **headers):
        scope = {"type": "http", "method": "GET", "path": "/api/usage", "operation": "listUsage"}
        services: Any = None
        return OutgoingAnswer(
            request=Request(scope), services=services, status=status, headers=headers, body=body, number=0
        )

    return make_answer


def apply(edit, answer):
    for each in ActiveEdits([edit]).at(Point.ANSWER, answer.operation):
        each(answer)
    return answer


@pytest.mark.parametrize(
    ("path", "body", "left"),
    [
        ("id", {"id": 1, "n": 2}, {"n": 2}),
        ("user.id", {"user": {"id": 1}}, {"user": {}}),
        ("*.id", [{"id": 1}, {"n": 2}], [{}, {"n": 2}]),
        ("rows.*.id", {"rows": [{"id": 1}, {"id": 2, "n": 3}]}, {"rows": [{}, {"n": 3}]}),
    ],
)
def test_path_reaches_every_member_it_names(make_answer, path, body, left):
    """A star stands for each item of a list; a missing member is ignored."""
    assert apply(on_answer("", without(path)), make_answer(body)).body == left


def test_missing_member_is_not_added_by_a_change(make_answer):
    answer = apply(on_answer("", changed("*.id", str)), make_answer([{"id": 1}, {}]))

    assert answer.body == [{"id": "1"}, {}]


def test_success_edit_does_not_change_refusals(make_answer):
    edit = on_success("listUsage", with_value("total", -1))

    assert apply(edit, make_answer({"total": 3})).body == {"total": -1}
    assert apply(edit, make_answer({"code": "X"}, 400)).body == {"code": "X"}


def test_edit_applies_to_the_operations_it_names(make_answer):
    assert apply(on_success("getWhoami", with_status(203)), make_answer({})).status == 200
    assert apply(on_success("getWhoami listUsage", with_status(203)), make_answer({})).status == 203
    assert apply(on_answer("", with_status(203)), make_answer({})).status == 203


@pytest.mark.parametrize(
    ("code", "status", "is_edited"),
    [("X", None, True), ("Y", None, False), (None, 404, True), (None, 400, False), (None, None, True)],
)
def test_refusal_edit_applies_to_a_code_or_status(make_answer, code, status, is_edited):
    answer = apply(on_refusal(without("code"), code=code, status=status), make_answer({"code": "X"}, 404))

    assert ("code" not in answer.body) == is_edited


def test_refusal_edit_does_not_change_successes(make_answer):
    assert apply(on_refusal(with_status(500)), make_answer({"code": "X"})).status == 200


def test_header_is_changed_or_removed_if_it_is_sent(make_answer):
    """None removes it; a header that is not sent is not added."""
    edit = on_answer("", with_header("limit", lambda limit: None if limit == "1" else "9"))

    assert apply(edit, make_answer({}, limit="1")).headers == {}
    assert apply(edit, make_answer({}, limit="2")).headers == {"limit": "9"}
    assert apply(edit, make_answer({})).headers == {}


def test_raw_bytes_replace_the_body(make_answer):
    answer = apply(on_answer("", sent_as(b"", None, status=204)), make_answer({}, **{"content-type": "a/b"}))

    assert (answer.status, answer.content, answer.headers) == (204, b"", {})
