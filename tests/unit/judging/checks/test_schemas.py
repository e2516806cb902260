"""The checks of shapes that require more than the schemas of the document."""

from dataclasses import replace

import pytest
from exchanges import broken, exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import schemas


@pytest.mark.parametrize(
    ("listed", "in_schema", "holds"),
    [(4, 4, True), (4.0, 5, True), (None, None, True), (None, 4, False), (4, None, False)],
)
def test_list_and_schema_agree_on_whether_there_is_a_cost(listed, in_schema, holds):
    """Both are a number, or both are null; rounding is open."""
    answer = exchange(200, [{"slug": "harbour", "estimatedCreditCost": listed}, {"slug": "other"}, "odd"])

    [claim] = schemas.cost_as_in_schema.judge(answer, estimates={"harbour": in_schema, "gone": 1})

    assert claim.holds is holds


@pytest.mark.parametrize("operation_id", ["runWorkflow", "runModel"])
@pytest.mark.parametrize(
    ("status", "query", "is_broken"),
    [
        (200, (), False),
        (202, (), True),
        (200, (("async", "true"),), False),
        (202, (("async", "true"),), False),
        (500, (), False),
    ],
)
def test_only_a_submit_may_be_a_202(operation_id, status, query, is_broken):
    """A synchronous run is a 200; a submit may be either."""
    answer = exchange(status, {}, operation_id=operation_id)
    answer = replace(answer, request=replace(answer.request, query=query))
    operation = shipped_document().operation_by_id[operation_id]

    facts = broken(schemas.status_is_documented, answer, operation=operation)

    assert facts == ({"ground.status-is-documented"} if is_broken else set())
