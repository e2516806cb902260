"""The overview's table of endpoints, copied by hand from the page, compared with the document."""

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source

DOCUMENT = shipped_document()
ANY_KEY: tuple[str, ...] = ()
NO_KEY = None
RUN_MODEL = ("model:run", "model:<internalName>:run")

# method, path, what it needs, its operationId
OVERVIEW = [
    ("GET", "/api/whoami", ANY_KEY, "getWhoami"),
    ("POST", "/api/workflows/:slug/run", ("workflow:run", "workflow:<slug>:run"), "runWorkflow"),
    ("POST", "/api/workflows/:slug/run?async=true", ("workflow:run", "workflow:<slug>:run"), "runWorkflow"),
    ("GET", "/api/workflows/:slug/schema", ("workflow:read",), "getWorkflowSchema"),
    ("GET", "/api/workflows/:slug/public-schema", NO_KEY, "getPublicWorkflowSchema"),
    ("GET", "/api/workflows", ("workflow:read",), "listWorkflows"),
    ("GET", "/api/workflows/:slug", ("workflow:read",), "getWorkflow"),
    ("POST", "/api/workflows", ("workflow:write",), "createWorkflow"),
    ("PUT", "/api/workflows/:slug", ("workflow:write",), "updateWorkflow"),
    ("PUT", "/api/workflows/:slug/move", ("workflow:write",), "moveWorkflow"),
    ("DELETE", "/api/workflows/:slug", ("workflow:write",), "deleteWorkflow"),
    ("POST", "/api/models/:internalName/run", RUN_MODEL, "runModel"),
    ("POST", "/api/models/:internalName/run?async=true", RUN_MODEL, "runModel"),
    ("GET", "/api/executions/:id", ("execution:read",), "getExecution"),
    ("POST", "/api/executions/:id/cancel", ("execution:cancel",), "cancelExecution"),
    ("GET", "/api/usage", ANY_KEY, "listUsage"),
    ("GET", "/api/usage/models", ANY_KEY, "listUsageModels"),
    ("GET", "/api/pricing/public", NO_KEY, "getPublicPricing"),
    ("GET", "/api/health", NO_KEY, "getHealth"),
]
ROWS = pytest.mark.parametrize(
    ("method", "path", "needs", "operation_id"), OVERVIEW, ids=[f"{row[0]} {row[1]}" for row in OVERVIEW]
)


def written_as_template(path):
    """Turn ``/api/workflows/:slug/run?async=true`` into ``/api/workflows/{slug}/run``."""
    steps = path.partition("?")[0].split("/")
    return "/".join(f"{{{step[1:]}}}" if step.startswith(":") else step for step in steps)


@ROWS
def test_overview_row_has_its_operation(method, path, needs, operation_id):
    operation = DOCUMENT.operation_by_id[operation_id]
    expected = tuple(need.replace("<", "{").replace(">", "}") for need in needs or ())

    assert (operation.method, operation.path) == (method, written_as_template(path))
    assert operation.source is Source.OVERVIEW
    assert (operation.is_public, operation.alternatives) == (needs is NO_KEY, expected)
    assert "?async=true" not in path or "async" in operation.query_parameters


def test_document_has_only_operations_of_the_overview():
    assert set(DOCUMENT.operation_by_id) == {row[3] for row in OVERVIEW}


@pytest.mark.parametrize("prefix", ["/api/me", "/api/credits/", "/api/api-keys", "/api/business/admin/"])
def test_session_only_paths_are_listed(prefix):
    assert any(path.startswith(prefix) for path in DOCUMENT.session_only_paths)


# The error page's table: status, code, context fields; * marks codes of key creation alone.
ERROR_PAGE = [
    (400, "INVALID_INPUTS", ()),
    (400, "INVALID_SLUG", ()),
    (400, "INVALID_BODY", ()),
    (400, "INVALID_CAPABILITY *", ()),
    (400, "ASYNC_NOT_SUPPORTED", ()),
    (401, "LEGACY_KEY_RETIRED", ()),
    (402, "INSUFFICIENT_CREDITS", ()),
    (402, "grant_exhausted", ()),
    (403, "CAPABILITY_DENIED", ("required",)),
    (403, "CAPABILITY_ABOVE_CEILING *", ("attempted",)),
    (403, "API_KEY_ACCESS_DENIED *", ()),
    (403, "MODEL_TIER_REQUIRED", ()),
    (404, "MODEL_NOT_FOUND", ()),
    (429, "RATE_LIMIT_EXCEEDED", ("tier", "limit", "retryAfter")),
    (500, "EXECUTION_FAILED", ()),
]


@pytest.mark.parametrize(("status", "name", "context"), ERROR_PAGE, ids=[row[1] for row in ERROR_PAGE])
def test_code_of_the_error_page_is_in_the_document(status, name, context):
    code = DOCUMENT.error_codes[name.removesuffix(" *")]

    assert (code.statuses, code.context_fields) == ((status,), context)
    assert (code.key_can_provoke, code.source) == (not name.endswith("*"), Source.DOCS)


def test_other_codes_are_assumed():
    documented = {code.code for code in DOCUMENT.error_codes.values() if code.source is not Source.ASSUMED}

    assert documented == {row[1].removesuffix(" *") for row in ERROR_PAGE}
