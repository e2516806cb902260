"""The matrix of isolation is complete, and each of its checks can fail."""

import pytest
from exchanges import broken
from run_records import exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import isolation
from knouds_harness.judging.checks.isolation import ON_EXECUTIONS, ON_NOBODYS, ON_WORKFLOWS

DOCUMENT = shipped_document()


def test_every_operation_on_a_resource_has_a_cell():
    """A new operation is tried as the other user, or listed as one on resources without an owner."""
    on_a_resource = {each.id for each in DOCUMENT.operations if each.path_parameters}

    assert on_a_resource == {*ON_WORKFLOWS} | ON_EXECUTIONS | ON_NOBODYS


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
