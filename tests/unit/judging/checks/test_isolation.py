"""The matrix of isolation is complete, and each of its checks can fail."""

import pytest
from exchanges import broken
from run_records import exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.sources import Source
from knouds_harness.judging.checks import isolation
from knouds_harness.judging.checks.isolation import ON_NOBODYS, REFUSAL_BY_OPERATION

DOCUMENT = shipped_document()


def test_every_operation_on_a_resource_has_a_cell():
    """A new operation is tried as the other user, or listed as one on resources without an owner."""
    on_a_resource = {each.id for each in DOCUMENT.operations if each.path_parameters}

    assert on_a_resource == set(REFUSAL_BY_OPERATION) | ON_NOBODYS


@pytest.mark.parametrize("operation_id", REFUSAL_BY_OPERATION)
def test_success_on_a_foreign_resource_is_broken(operation_id):
    fact = REFUSAL_BY_OPERATION[operation_id].fact

    assert broken(isolation.refused, exchange(1, operation_id, body={})) == {fact}


@pytest.mark.parametrize("operation_id", REFUSAL_BY_OPERATION)
@pytest.mark.parametrize("status", [403, 404])
def test_documented_refusal_status_is_strict(operation_id, status):
    """404 always holds; 403 holds if no page documents the status."""
    answer = exchange(1, operation_id, status=status, body={"error": "No.", "code": "NO"})
    refusal = REFUSAL_BY_OPERATION[operation_id]
    is_open = DOCUMENT.facts[refusal.status_fact or refusal.fact].source is Source.ASSUMED

    assert broken(isolation.refused, answer) == (set() if status == 404 or is_open else {refusal.fact})


@pytest.mark.parametrize("operation_id", ["updateWorkflow", "moveWorkflow", "deleteWorkflow"])
def test_other_refusal_of_a_write_is_an_assumption(operation_id):
    answer = exchange(1, operation_id, status=409, body={"error": "No.", "code": "NO"})

    assert broken(isolation.refused, answer) == {"workflows.foreign-write-status"}


@pytest.mark.parametrize(
    ("status", "facts"),
    [
        ("processing", set()),
        ("completed", set()),
        ("cancel_requested", {"execution.foreign-is-404"}),
        ("cancelled", {"execution.foreign-is-404"}),
    ],
)
def test_cancel_by_another_user_is_found(status, facts):
    assert broken(isolation.not_cancelled, exchange(1, "getExecution", body={"status": status})) == facts
