"""Edits of responses, as the tables of faults use them."""

import copy
from typing import Any

import pytest
from starlette.requests import Request

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.fault_points import ActiveEdits, Point
from knouds_sandbox.faults.editing import changed, on_answer, on_refusal, on_success, with_value, without


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
    for each in ActiveEdits({"a-fault": [edit]}).at(Point.ANSWER, answer.operation):
        each(answer)
    return answer


NO = {"code": "NO"}
LESS_CODE = without("code")


@pytest.mark.parametrize(
    ("edit", "status", "body", "left"),
    [
        (on_answer("", without("id")), 200, {"id": 1, "n": 2}, {"n": 2}),
        (on_answer("", without("user.id")), 200, {"user": {"id": 1}}, {"user": {}}),
        (on_answer("", without("*.id")), 200, [{"id": 1}, {"n": 2}], [{}, {"n": 2}]),
        (on_answer("", without("rows.*.id")), 200, {"rows": [{"id": 1}, {"n": 3}]}, {"rows": [{}, {"n": 3}]}),
        (on_answer("", changed("*.id", str)), 200, [{"id": 1}, {}], [{"id": "1"}, {}]),
        (on_success("listUsage", with_value("total", -1)), 200, {"total": 3}, {"total": -1}),
        (on_success("getWhoami listUsage", with_value("total", -1)), 200, {}, {"total": -1}),
        (on_success("getWhoami", with_value("total", -1)), 200, {}, {}),
        (on_success("listUsage", LESS_CODE), 404, NO, NO),
        (on_refusal(LESS_CODE), 404, NO, {}),
        (on_refusal(LESS_CODE, code="NO"), 404, NO, {}),
        (on_refusal(LESS_CODE, code="YES"), 404, NO, NO),
        (on_refusal(LESS_CODE, status=404), 404, NO, {}),
        (on_refusal(LESS_CODE, status=400), 404, NO, NO),
        (on_refusal(LESS_CODE), 200, NO, NO),
    ],
)
def test_edit_changes_what_it_names(make_answer, edit, status, body, left):
    """A path leads to each member that it names, and a change adds none that is missing."""
    assert apply(edit, make_answer(copy.deepcopy(body), status)).body == left
