"""Members of responses that the document names, looked up by place."""

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import known_body

DOCUMENT = shipped_document()


def body(operation_id, status=200):
    return known_body(DOCUMENT.operation_by_id[operation_id], status)


@pytest.mark.parametrize(
    ("operation_id", "status", "members"),
    [
        ("getWorkflow", 200, {"slug", "nodes", "createdBy", "updatedAt"}),  # behind references and allOf
        ("runWorkflow", 200, {"result", "cost", "ms", "_async", "executionId"}),  # both branches of an if
        ("getPublicWorkflowSchema", 200, {"estimatedCreditCost"}),  # forbidden: a breach, and not drift
        ("createWorkflow", 201, {"slug", "nodes", "createdBy"}),  # in an example of an open form
        ("updateWorkflow", 200, {"slug", "nodes", "createdBy"}),
        ("getWhoami", 401, {"error", "code", "required", "tier", "limit", "retryAfter"}),
        ("getWhoami", 418, {"error", "code", "required", "tier", "limit", "retryAfter"}),
    ],
)
def test_members_that_the_document_names_anywhere_are_known(operation_id, status, members):
    place = body(operation_id, status)

    assert members <= place.members.keys()
    assert place.is_free == (operation_id == "updateWorkflow")


def test_only_unconditional_members_are_required():
    """A completed execution has a result, others do not."""
    place = body("getExecution")

    assert place.required == {"executionId", "status"}
    assert "result" in place.members


@pytest.mark.parametrize(
    ("operation_id", "steps"),
    [
        ("getWorkflow", ["nodes", "*", "data"]),
        ("getWorkflow", ["nodes", "*", "position"]),
        ("getWorkflowSchema", ["values"]),
        ("getWorkflowSchema", ["fields", "*"]),
        ("runWorkflow", ["result"]),
        ("getExecution", []),
        ("updateWorkflow", []),
        ("getPublicPricing", []),
    ],
)
def test_maps_and_open_bodies_are_free(operation_id, steps):
    place = body(operation_id)
    for step in steps:
        place = place.items if step == "*" else place.members[step]

    assert place.is_free
