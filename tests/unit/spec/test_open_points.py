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
NOT_FOUND = {"error": "Not found", "code": "WORKFLOW_NOT_FOUND"}
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
    "foreign write is a 403": ("updateWorkflow", 403, {"error": "Not yours", "code": "NOT_OWNER"}),
    "foreign write is a 404": ("deleteWorkflow", 404, NOT_FOUND),
    "foreign read is a 403": ("getWorkflow", 403, {"error": "Not yours", "code": "NOT_OWNER"}),
    "foreign read is a 404": ("getWorkflow", 404, NOT_FOUND),
    "malformed slug is a 400 on read": ("getWorkflow", 400, {"error": "Bad slug", "code": "INVALID_SLUG"}),
    "malformed slug is a 404 on read": ("getWorkflowSchema", 404, NOT_FOUND),
    "create without a name is a 400": ("createWorkflow", 400, {"error": "No name", "code": "NAME_REQUIRED"}),
    "create without a name is a 422": ("createWorkflow", 422, {"error": "No name", "code": "NAME_REQUIRED"}),
    "second workflow on free is a 402": ("createWorkflow", 402, {"error": "One only", "code": "UPGRADE"}),
    "second workflow on free is a 403": ("createWorkflow", 403, {"error": "One only", "code": "UPGRADE"}),
    "second workflow on free is a 409": ("createWorkflow", 409, {"error": "One only", "code": "UPGRADE"}),
    "oversized body is a 413": ("runModel", 413, {"error": "Too large", "code": "PAYLOAD_TOO_LARGE"}),
    "oversized body is a 400": ("runModel", 400, {"error": "Too large", "code": "PAYLOAD_TOO_LARGE"}),
    "wrong content type is a 415": ("runModel", 415, {"error": "JSON, please", "code": "UNSUPPORTED"}),
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
    "malformed id is a 400": ("getExecution", 400, {"error": "Bad id", "code": "INVALID_ID"}),
    "cancel answers an empty object": ("cancelExecution", 200, {}),
    "cancel answers 202": ("cancelExecution", 202, {"ok": True}),
    "cancel after the end is a 400": ("cancelExecution", 400, {"error": "Ended", "code": "NOT_CANCELLABLE"}),
    "cancel after the end is a 409": ("cancelExecution", 409, {"error": "Ended", "code": "NOT_CANCELLABLE"}),
    "required as a text": ("getWorkflow", 403, denied("workflow:read")),
    "required as a list": ("runWorkflow", 403, denied(["workflow:run", "workflow:a:run"])),
    "required as an object": ("runWorkflow", 403, denied({"anyOf": ["workflow:run"]})),
    "model key under business is denied": ("runModel", 403, denied("model:run")),
    "model key under business needs a tier": (
        "runModel",
        403,
        {"error": "No", "code": "MODEL_TIER_REQUIRED"},
    ),
    "plain 401 with another code": ("getWhoami", 401, {"error": "Unauthorized", "code": "INVALID_API_KEY"}),
    "duration null while processing": ("listUsage", 200, page(status="processing", durationMs=None)),
    "duration absent while processing": (
        "listUsage",
        200,
        PAGE | {"rows": [without(PAGE["rows"][0], "durationMs") | {"status": "processing"}]},
    ),
    "duration null when cancelled": ("listUsage", 200, page(status="cancelled", durationMs=None)),
    "pages counted from zero": ("listUsage", 200, PAGE | {"page": 0}),
    "empty page": ("listUsage", 200, PAGE | {"rows": [], "total": 0}),
    "garbled query is a 400": ("listUsage", 400, {"error": "Bad limit", "code": "INVALID_LIMIT"}),
    "garbled query is a 422": ("listUsage", 422, {"error": "Bad limit", "code": "INVALID_LIMIT"}),
    "usage models bare": ("listUsageModels", 200, ["a"]),
    "usage models none": ("listUsageModels", 200, []),
    "usage models in an object": ("listUsageModels", 200, {"models": []}),
    "usage models under another name": ("listUsageModels", 200, {"data": ["a", "b"], "count": 2}),
    "usage models as objects": ("listUsageModels", 200, [{"id": "a"}, {"id": "b"}]),
    "reads are limited too": ("getWhoami", 429, {"error": "Slow down", "code": "TOO_MANY"}),
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
