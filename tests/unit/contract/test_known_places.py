"""Members of responses that the document names, looked up by place."""

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import KnownPlaces, named_form

DOCUMENT = shipped_document()
KNOWN = KnownPlaces(DOCUMENT)


def body(operation_id, status=200):
    return KNOWN.body(DOCUMENT.operation_by_id[operation_id], status)


def test_members_behind_references_and_allof_are_known():
    """A workflow's document is written in two parts."""
    assert body("getWorkflow").members.keys() == {
        *("slug", "name", "description", "tags", "nodes", "edges", "viewport", "publicPlayground"),
        *("createdBy", "folderId", "updatedAt"),
    }


def test_both_branches_of_a_condition_are_known():
    """A 200 of a run is a result or a submit."""
    known = body("runWorkflow").members.keys()

    assert {"success", "result", "cost", "ms", "_async", "executionId", "pollUrl", "workflowSlug"} <= known


def test_only_unconditional_members_are_required():
    """A completed execution has a result, others do not."""
    place = body("getExecution")

    assert place.required == {"executionId", "status"}
    assert "result" in place.members


def test_forbidden_member_is_known():
    """A price in a public schema is a breach, and not drift."""
    assert "estimatedCreditCost" in body("getPublicWorkflowSchema").members


def test_members_of_items_are_known():
    assert "creditsCost" in body("listUsage").members["rows"].items.members


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


def test_types_of_a_member_are_known():
    """Integers are numbers, as in JSON."""
    members = body("listUsage").members["rows"].items.members

    assert members["creditsCost"].types == {"number"}
    assert members["workflowSlug"].types == {"string", "null"}


def test_open_sets_list_their_documented_values():
    user = body("getWhoami").members["user"].members

    assert user["tier"].listed == {"free", "creator", "pro", "business", "enterprise"}
    assert user["role"].listed is None


def test_models_and_node_types_are_not_listed():
    """They come and go, so a new one is never drift."""
    assert body("listUsage").members["rows"].items.members["modelIds"].items.listed is None
    assert body("getWorkflow").members["nodes"].items.members["type"].listed is None


@pytest.mark.parametrize(("operation_id", "status"), [("createWorkflow", 201), ("updateWorkflow", 200)])
def test_members_of_an_example_are_known(operation_id, status):
    """Responses to writes are open or assumed, and examples show their forms."""
    assert {"slug", "nodes", "createdBy"} <= body(operation_id, status).members.keys()


@pytest.mark.parametrize(("operation_id", "status"), [("getWhoami", 401), ("getWhoami", 418)])
def test_refusals_have_the_envelope_and_context_fields(operation_id, status):
    place = body(operation_id, status)

    assert {"error", "code", "required", "tier", "limit", "retryAfter"} <= place.members.keys()
    assert not place.is_free


def test_values_of_required_are_capabilities():
    listed = body("runModel", 403).members["required"].listed

    assert {"model:run", "model:*:run", "model:*", "*", "workflow:read"} <= listed
    assert "model:paint" not in listed


def test_undocumented_success_is_free():
    assert body("getWhoami", 206).is_free


def test_headers_of_any_response_are_known_on_all():
    """Which operations are rate-limited is open."""
    assert {"x-ratelimit-limit", "retry-after", "x-knouds-signature"} <= KNOWN.headers


def test_members_of_a_delivery_are_known():
    assert {"event", "executionId", "result", "error"} <= KNOWN.delivery.members.keys()
    assert "webhook.test" in (KNOWN.delivery.members["event"].listed or ())


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("workflow:portrait:run", "workflow:*:run"),
        ("workflow:run", "workflow:run"),
        ("pro", "pro"),
        ("*", "*"),
    ],
)
def test_bound_capability_is_listed_without_its_resource(value, form):
    assert named_form(value) == form
