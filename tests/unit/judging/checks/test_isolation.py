"""The matrix of isolation is complete, and each of its checks can fail."""

import pytest
from exchanges import broken
from run_records import exchange

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import isolation
from knouds_harness.judging.rule.reasons import REASONS

DOCUMENT = shipped_document()


def test_every_operation_on_a_resource_has_a_cell():
    """A new one may be refused as somebody else's, unless its resource has no owner."""
    on_a_resource = {each.id for each in DOCUMENT.operations if each.path_parameters}
    refused = {each for reason in REASONS if "foreign" in reason.id for each in reason.on}

    assert on_a_resource == refused | {"getPublicWorkflowSchema", "runModel"}


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
