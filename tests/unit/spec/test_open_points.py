"""No reasonable response on a point that no source settles breaks more than an assumption.

One case per open point; a server that answers like this keeps the contract.
"""

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_harness.contract.shapes import body_mismatches, header_mismatches

DOCUMENT = shipped_document()
OPERATION = DOCUMENT.operation_by_id
HARBOUR = OPERATION["getWorkflow"].responses[200].examples["harbour"]
SUMMARY = OPERATION["listWorkflows"].responses[200].examples["ada"][0]
SUBMIT = OPERATION["runWorkflow"].responses[202].examples["submitted"]
MODEL_SUBMIT = OPERATION["runModel"].responses[202].examples["submitted"]
PAGE = OPERATION["listUsage"].responses[200].examples["ada"]
EXECUTION = {"executionId": SUBMIT["executionId"]}
NO_WEBHOOK = {"configured": False, "url": None}
CANCELLED = EXECUTION | {"status": "cancelled"}
FINISHED = {"success": True, "result": {"text": ["a", "b"]}, "cost": 0.5}


def without(body, *members):
    return {name: value for name, value in body.items() if name not in members}


def page(**changed):
    return PAGE | {"rows": [PAGE["rows"][0] | changed]}


def harbour(part, **changed):
    """Return the document with one node or edge."""
    return HARBOUR | {part: [HARBOUR[part][0] | changed]}


def schema(**changed):
    return {"fields": [], "values": {}, "name": "A", "estimatedCreditCost": None, **changed}


def denied(required):
    return {"error": "No", "code": "CAPABILITY_DENIED", "required": required}


OPEN_POINTS = {
    "create answers 200 with a slug": ("createWorkflow", 200, {"slug": "a-b"}),
    "create answers 201 with the document": ("createWorkflow", 201, HARBOUR),
    "create answers 201 with another document": ("createWorkflow", 201, {"slug": "a", "nodes": None}),
    "update answers the document": ("updateWorkflow", 200, HARBOUR),
    "update answers an empty object": ("updateWorkflow", 200, {}),
    "move answers success": ("moveWorkflow", 200, {"success": True}),
    "delete answers what it deleted": ("deleteWorkflow", 200, {"deleted": "a-b"}),
    "summary with an empty description": ("listWorkflows", 200, [SUMMARY | {"description": ""}]),
    "summary with a null description": ("listWorkflows", 200, [SUMMARY | {"description": None}]),
    "summary without a description": ("listWorkflows", 200, [without(SUMMARY, "description")]),
    "summary without pictures": ("listWorkflows", 200, [without(SUMMARY, "cover")]),
    "summary with null pictures": ("listWorkflows", 200, [SUMMARY | {"cover": None, "thumbnail": None}]),
    "empty list": ("listWorkflows", 200, []),
    "time without fractions": ("listWorkflows", 200, [SUMMARY | {"updatedAt": "2026-06-01T08:00:00Z"}]),
    "time with an offset": ("listWorkflows", 200, [SUMMARY | {"updatedAt": "2026-06-01T08:00:00+0200"}]),
    "time without seconds or zone": ("listWorkflows", 200, [SUMMARY | {"updatedAt": "2026-06-01T08:00"}]),
    "edges with null handles": ("getWorkflow", 200, harbour("edges", sourceHandle=None, targetHandle=None)),
    "edges with numbered handles": ("getWorkflow", 200, harbour("edges", sourceHandle=0)),
    "node types spelt in words": ("getWorkflow", 200, harbour("nodes", type="Request Input")),
    "document without optional members": (
        "getWorkflow",
        200,
        without(HARBOUR, "description", "tags", "publicPlayground"),
    ),
    "owner named by a number": ("getWorkflow", 200, HARBOUR | {"createdBy": 17}),
    "schema without a description": ("getWorkflowSchema", 200, schema()),
    "estimate that is no whole number": ("getWorkflowSchema", 200, schema(estimatedCreditCost=0.5)),
    "field of a new type": ("getWorkflowSchema", 200, schema(fields=[{"name": "a", "type": "colour"}])),
    "text as a list": ("runWorkflow", 200, FINISHED | {"ms": 1.5}),
    "result that is a bare text": ("runWorkflow", 200, FINISHED | {"ms": 1, "result": "hello"}),
    "result of another kind": ("runWorkflow", 200, FINISHED | {"ms": 1, "result": {"mesh": {"url": 1}}}),
    "result that names its execution": ("runWorkflow", 200, FINISHED | {"ms": 1, **EXECUTION}),
    "model run without ms": ("runModel", 200, FINISHED),
    "model run with ms as a text": ("runModel", 200, FINISHED | {"ms": "1.2 s"}),
    "submit answered 200": ("runWorkflow", 200, SUBMIT),
    "submit answered 202": ("runWorkflow", 202, SUBMIT),
    "model submit answered 200": ("runModel", 200, MODEL_SUBMIT),
    "submit with a null url": ("runModel", 202, MODEL_SUBMIT | {"webhookDelivery": NO_WEBHOOK}),
    "poll with nothing else": ("getExecution", 200, EXECUTION | {"status": "processing"}),
    "poll with null result and error": ("getExecution", 200, CANCELLED | {"result": None, "error": None}),
    "cancel answers an empty object": ("cancelExecution", 200, {}),
    "cancel answers 202": ("cancelExecution", 202, {"ok": True}),
    "required as a text": ("getWorkflow", 403, denied("workflow:read")),
    "required as a list": ("runWorkflow", 403, denied(["workflow:run", "workflow:a:run"])),
    "required as an object": ("runWorkflow", 403, denied({"anyOf": ["workflow:run"]})),
    "model key under business is denied": ("runModel", 403, denied("model:run")),
    "duration null while processing": ("listUsage", 200, page(status="processing", durationMs=None)),
    "duration absent while processing": (
        "listUsage",
        200,
        PAGE | {"rows": [without(PAGE["rows"][0], "durationMs") | {"status": "processing"}]},
    ),
    "duration null when cancelled": ("listUsage", 200, page(status="cancelled", durationMs=None)),
    "pages counted from zero": ("listUsage", 200, PAGE | {"page": 0}),
    "empty page": ("listUsage", 200, PAGE | {"rows": [], "total": 0}),
    "usage models bare": ("listUsageModels", 200, ["a"]),
    "usage models as objects": ("listUsageModels", 200, [{"id": "a"}, {"id": "b"}]),
    "pricing by tier name": ("getPublicPricing", 200, {"free": 0, "pro": 30}),
    "health in other words": ("getHealth", 200, {"up": True, "db": "fine"}),
    "health says nothing": ("getHealth", 200, {}),
}


@pytest.mark.parametrize(("operation_id", "status", "body"), OPEN_POINTS.values(), ids=OPEN_POINTS)
def test_response_on_an_open_point_breaks_only_assumptions(operation_id, status, body):
    operation = OPERATION[operation_id]

    mismatches = body_mismatches(operation, status, body)

    assert status in operation.responses
    assert [mismatch for mismatch in mismatches if mismatch.source is not Source.ASSUMED] == []


REFUSALS = {
    "updateWorkflow": (403, 404),  # of another account
    "deleteWorkflow": (404,),
    "getWorkflow": (400, 403, 404),  # the same, or a malformed slug
    "getWorkflowSchema": (404,),
    "createWorkflow": (400, 402, 403, 409, 422),  # without a name, or a second one of a free account
    "runModel": (400, 403, 413, 415),  # oversized, of another type, or for a higher tier
    "getExecution": (400,),  # a malformed id
    "cancelExecution": (400, 409),  # after the end
    "listUsage": (400, 422),  # a garbled query
    "getWhoami": (401, 429),
}


@pytest.mark.parametrize(
    ("operation_id", "status"), [(each, status) for each, known in REFUSALS.items() for status in known]
)
def test_refusal_on_an_open_point_breaks_only_assumptions(operation_id, status):
    """Whatever its code is."""
    refusal = {"error": "No", "code": "SOMETHING_ELSE"}

    mismatches = body_mismatches(OPERATION[operation_id], status, refusal)

    assert status in OPERATION[operation_id].responses
    assert [mismatch for mismatch in mismatches if mismatch.source is not Source.ASSUMED] == []


@pytest.mark.parametrize(
    ("operation_id", "status"),
    [("createWorkflow", 202), ("deleteWorkflow", 204), ("cancelExecution", 204), ("cancelExecution", 422)],
)
def test_status_on_an_open_point_breaks_only_assumptions(operation_id, status):
    assumption = OPERATION[operation_id].assumption_about(status)

    assert assumption is not None
    assert DOCUMENT.facts[assumption].source is Source.ASSUMED


@pytest.mark.parametrize("value", ["-1", "0", "unlimited", "Infinity"])
@pytest.mark.parametrize("operation_id", ["runWorkflow", "runModel"])
def test_unlimited_account_may_get_rate_limit_headers(operation_id, value):
    headers = [("X-RateLimit-Limit", value), ("X-RateLimit-Remaining", value), ("X-RateLimit-Reset", "0")]

    assert header_mismatches(OPERATION[operation_id], 200, headers) == []
