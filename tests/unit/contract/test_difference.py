"""Breaking and additive differences, rule by rule, on the real document with one change."""

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knouds_harness.contract.difference import Difference, Kind, differences
from knouds_harness.contract.document import _read, shipped_document
from knouds_harness.contract.nodes import DocumentFlaw, Node
from knouds_harness.errors import DocumentError

OLD = shipped_document()
WHOAMI = ("paths", "/api/whoami", "get")
WHOAMI_BODY = (*WHOAMI, "responses", "200", "content", "application/json", "schema")
USER = (*WHOAMI_BODY, "properties", "user")
LIST = ("paths", "/api/workflows", "get")
RUN = ("paths", "/api/workflows/{slug}/run", "post")
PUBLIC = ("paths", "/api/workflows/{slug}/public-schema", "get")
USAGE = ("paths", "/api/usage", "get")
SCHEMAS = ("components", "schemas")
HEADERS = ("components", "headers")
CODES = ("components", "x-error-codes")
RUN_REQUEST = (*SCHEMAS, "RunRequest")
PARTS = (*SCHEMAS, "WorkflowParts")
GONE = object()


def changed(*edits):
    """Apply edits to the document: a path of keys, and a new value, a function of the old one or ``GONE``."""
    raw = copy.deepcopy(OLD.raw)
    for path, value in edits:
        node: Any = raw
        for step in path[:-1]:
            node = node[step]
        if value is GONE:
            del node[path[-1]]
        elif callable(value):
            known = node.get(path[-1]) if isinstance(node, dict) else node[path[-1]]
            node[path[-1]] = copy.deepcopy(value(known))
        else:
            node[path[-1]] = copy.deepcopy(value)
    return load(raw)


def load(raw):
    flaws: list[DocumentFlaw] = []
    document = _read(Node(value=raw, root=raw), "", flaws)
    assert flaws == []
    return document


def plus(*items):
    return lambda old: [*(old or ()), *items]


def less(*items):
    return lambda old: [item for item in old if item not in items]


def also(**members):
    return lambda old: {**old, **members}


def without(*names):
    return lambda old: {key: value for key, value in old.items() if key not in names}


def renamed(path, name):
    """Return edits that move a value to another key of the same mapping."""

    def move(mapping):
        return {name if key == path[-1] else key: value for key, value in mapping.items()}

    return (path[:-1], move)


LIMIT = (*USAGE, "parameters", 3, "schema")
STATUS = (*USAGE, "parameters", 0, "schema", "enum")
OPTIONAL = {"name": "after", "in": "query", "schema": {"type": "string"}}

BREAKING = {
    "operation gone": ([(("paths", "/api/health"), GONE)], "getHealth", "GET /api/health is gone."),
    "path moved": (
        [renamed(("paths", "/api/health"), "/api/status")],
        "getHealth",
        "GET /api/health has moved to GET /api/status.",
    ),
    "method moved": (
        [renamed(("paths", "/api/health", "get"), "post")],
        "getHealth",
        "GET /api/health has moved to POST /api/health.",
    ),
    "operation renamed": (
        [((*WHOAMI, "operationId"), "whoAmI")],
        "getWhoami",
        "The operation is now called whoAmI; waivers, recordings and baselines name it.",
    ),
    "public operation secured": (
        [((*PUBLIC, "security"), GONE)],
        "getPublicWorkflowSchema/x-capabilities",
        "A key is needed now; none was.",
    ),
    "any key, now a capability": (
        [((*WHOAMI, "x-capabilities"), {"anyOf": ["account:read"]})],
        "getWhoami/x-capabilities",
        "Any valid key was admitted; now it must hold account:read.",
    ),
    "capability alternative gone": (
        [((*RUN, "x-capabilities", "anyOf"), less("workflow:{slug}:run"))],
        "runWorkflow/x-capabilities",
        "The admitting capability workflow:{1}:run is gone.",
    ),
    "error code of an operation gone": (
        [((*WHOAMI, "x-errors"), less("LEGACY_KEY_RETIRED"))],
        "getWhoami/x-errors",
        "The error code LEGACY_KEY_RETIRED is gone.",
    ),
    "error code of no operation gone": (
        [((*CODES, "INVALID_CAPABILITY"), GONE)],
        "x-error-codes/INVALID_CAPABILITY",
        "The code is gone.",
    ),
    "error code moved": (
        [((*CODES, "INVALID_INPUTS", "statuses"), [422])],
        "x-error-codes/INVALID_INPUTS",
        "It no longer comes with 400, but with 422.",
    ),
    "context field gone": (
        [((*CODES, "RATE_LIMIT_EXCEEDED", "context"), less("tier"))],
        "x-error-codes/RATE_LIMIT_EXCEEDED",
        "The context field tier is gone.",
    ),
    "documented fact gone": (
        [((*USAGE, "x-facts"), less("usage.offset-skips")), (("x-facts", "usage.offset-skips"), GONE)],
        "x-facts/usage.offset-skips",
        "The promise is gone.",
    ),
    "documented fact assumed": (
        [
            (("x-facts", "health.shape", "source"), "docs"),
            (("x-facts", "usage.filters", "source"), "assumed"),
        ],
        "x-facts/usage.filters",
        "The promise of the docs is now assumed only.",
    ),
    "address gone": (
        [(("servers", 0, "url"), "https://api.example.com")],
        "servers",
        f"The address {OLD.raw['servers'][0]['url']} is gone.",
    ),
    "key sent elsewhere": (
        [(("components", "securitySchemes", "apiKey", "name"), "x-key")],
        "components/securitySchemes",
        "The way to send a key apiKey, header, x-api-key is gone.",
    ),
    "closed path gone": (
        [(("x-session-only-paths",), less("/api/me"))],
        "x-session-only-paths",
        "The closed path /api/me is gone.",
    ),
    "parameter gone": (
        [((*USAGE, "parameters"), lambda old: old[:-1])],
        "listUsage/parameters/query/offset",
        "The parameter is gone.",
    ),
    "parameter new and required": (
        [((*USAGE, "parameters"), plus(OPTIONAL | {"required": True}))],
        "listUsage/parameters/query/after",
        "The parameter is new and required.",
    ),
    "parameter now required": (
        [((*USAGE, "parameters", 0, "required"), True)],
        "listUsage/parameters/query/status",
        "The parameter must now be sent.",
    ),
    "parameter's values fewer": (
        [(STATUS, less("failed"))],
        "listUsage/parameters/query/status",
        '"failed" may no longer be sent.',
    ),
    "parameter's set closed": (
        [((*USAGE, "parameters", 1, "schema", "enum"), ["seedream-v5"])],
        "listUsage/parameters/query/modelId",
        'The set is now closed: "seedream-v5".',
    ),
    "parameter's upper bound lowered": (
        [((*LIMIT, "maximum"), 100)],
        "listUsage/parameters/query/limit",
        "maximum was 500 and is now 100.",
    ),
    "parameter's lower bound raised": (
        [((*LIMIT, "minimum"), 10)],
        "listUsage/parameters/query/limit",
        "minimum was 1 and is now 10.",
    ),
    "parameter's default changed": (
        [((*LIMIT, "default"), 20)],
        "listUsage/parameters/query/limit",
        "The default was 50 and is now 20.",
    ),
    "path parameter narrowed": (
        [(("components", "parameters", "slug", "schema", "maxLength"), 20)],
        "runWorkflow/parameters/path/1",
        "maxLength was not set and is now 20.",
    ),
    "body member new and required": (
        [
            ((*RUN_REQUEST, "required"), plus("label")),
            ((*RUN_REQUEST, "properties"), also(label={"type": "string"})),
        ],
        "runWorkflow/requestBody/label",
        "The member is new and must be there.",
    ),
    "body member now required": (
        [((*PARTS, "required"), ["tags"])],
        "createWorkflow/requestBody/tags",
        "The member must now be there.",
    ),
    "body member gone": (
        [((*PARTS, "properties", "publicPlayground"), GONE)],
        "createWorkflow/requestBody/publicPlayground",
        "The member is gone.",
    ),
    "body member ruled out": (
        [((*PARTS, "properties", "publicPlayground"), {"not": {}})],
        "createWorkflow/requestBody/publicPlayground",
        "The member is ruled out.",
    ),
    "body type narrowed": (
        [((*PARTS, "properties", "description", "type"), "string")],
        "createWorkflow/requestBody/description",
        "The type was null or string and is now string.",
    ),
    "body pattern new": (
        [((*PARTS, "properties", "tags", "items", "pattern"), "^[a-z]+$")],
        "createWorkflow/requestBody/tags/*",
        'The rule {"pattern": "^[a-z]+$"} is new.',
    ),
    "body now required": (
        [
            ((*LIST[:2], "post", "requestBody", "required"), True),
            (
                (*LIST, "requestBody"),
                {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
            ),
        ],
        "listWorkflows/requestBody",
        "The body must now be sent.",
    ),
    "body gone": ([((*RUN, "requestBody"), GONE)], "runWorkflow/requestBody", "The body is gone."),
    "status gone": ([((*RUN, "responses", "402"), GONE)], "runWorkflow/responses/402", "The status is gone."),
    "response body gone": (
        [((*WHOAMI, "responses", "200", "content"), GONE)],
        "getWhoami/responses/200/body",
        "The body is gone.",
    ),
    "response member gone": (
        [((*USER, "required"), less("email")), ((*USER, "properties", "email"), GONE)],
        "getWhoami/responses/200/body/user/email",
        "The member is gone.",
    ),
    "optional response member gone": (
        [((*SCHEMAS, "WorkflowSummary", "properties", "cover"), GONE)],
        "listWorkflows/responses/200/body/*/cover",
        "The member is gone.",
    ),
    "response member may be missing": (
        [((*USER, "required"), less("email"))],
        "getWhoami/responses/200/body/user/email",
        "The member may now be missing.",
    ),
    "response member behind references may be missing": (
        [((*SCHEMAS, "RunOutcome", "required"), less("cost"))],
        "runWorkflow/responses/200/body/else/cost",
        "The member may now be missing.",
    ),
    "response type changed": (
        [((*USER, "properties", "approved", "type"), "string")],
        "getWhoami/responses/200/body/user/approved",
        "The type was boolean and is now string.",
    ),
    "response type widened": (
        [((*USER, "properties", "email", "type"), ["string", "null"])],
        "getWhoami/responses/200/body/user/email",
        "The type was string and is now null or string.",
    ),
    "closed set of a response grows": (
        [((*USER, "properties", "role", "enum"), plus("owner"))],
        "getWhoami/responses/200/body/user/role",
        '"owner" may now come too; the set was closed.',
    ),
    "closed set of a response opens": (
        [((*USER, "properties", "role"), lambda old: {"x-fact": old["x-fact"], "type": "string"})],
        "getWhoami/responses/200/body/user/role",
        'The set was closed ("user", "admin") and is now open.',
    ),
    "response bound loosened": (
        [((*SCHEMAS, "UsageRow", "properties", "creditsCost", "minimum"), GONE)],
        "listUsage/responses/200/body/rows/*/creditsCost",
        "minimum was 0 and is now not set.",
    ),
    "response rule gone": (
        [
            ((*SCHEMAS, "ModelIds", "allOf", 0, "uniqueItems"), GONE),
            (("x-facts", "usage.models-shape", "source"), "docs"),
        ],
        None,
        'The rule {"uniqueItems": true} is gone.',
    ),
    "condition of a response gone": (
        [((*SCHEMAS, "UsageRow", "allOf", 1), True)],
        "listUsage/responses/200/body/rows/*",
        'The rule {"if": {"properties": {"source": {"const": "api-slim"}}, "required": ["source"]}} is gone.',
    ),
    "member under a condition may be missing": (
        [((*SCHEMAS, "Throttling", "allOf", 1, "then", "required"), less("tier"))],
        "runWorkflow/responses/429/body/then/tier",
        "The member may now be missing.",
    ),
    "header may be missing": (
        [((*HEADERS, "Retry-After", "required"), False)],
        "runWorkflow/responses/429/headers/Retry-After",
        "The header may now be missing.",
    ),
    "header gone": (
        [((*RUN, "responses", "200", "headers", "X-RateLimit-Limit"), GONE)],
        "runWorkflow/responses/200/headers/X-RateLimit-Limit",
        "The header is gone.",
    ),
    "header's type changed": (
        [((*HEADERS, "Retry-After", "schema"), {"type": "string"})],
        "runWorkflow/responses/429/headers/Retry-After",
        "The type was integer and is now string.",
    ),
    "delivery gone": (
        [(("webhooks", "execution.failed"), GONE)],
        "webhooks",
        "The delivery execution.failed is gone.",
    ),
    "member of a delivery may be missing": (
        [((*SCHEMAS, "Delivery", "then", "required"), less("userId"))],
        "webhooks/execution.failed/body/then/userId",
        "The member may now be missing.",
    ),
    "signature gone": (
        [(("webhooks", "webhook.test", "post", "parameters"), GONE)],
        "webhooks/webhook.test/X-Knouds-Signature",
        "The member is gone.",
    ),
    "signature may be missing": (
        [(("components", "parameters", "signature", "required"), False)],
        "webhooks/webhook.test/X-Knouds-Signature",
        "The member may now be missing.",
    ),
}

ADDITIVE = {
    "operation new": (
        [
            (
                ("paths", "/api/ready"),
                {"get": OLD.raw["paths"]["/api/health"]["get"] | {"operationId": "getReady"}},
            )
        ],
        "getReady",
        "GET /api/ready is new.",
    ),
    "secured operation public": (
        [((*WHOAMI, "security"), [])],
        "getWhoami/x-capabilities",
        "No key is needed any more.",
    ),
    "capability no longer needed": (
        [((*LIST, "x-capabilities"), GONE)],
        "listWorkflows/x-capabilities",
        "Any valid key is admitted now.",
    ),
    "capability alternative new": (
        [((*LIST, "x-capabilities", "anyOf"), plus("workflow:list"))],
        "listWorkflows/x-capabilities",
        "The admitting capability workflow:list is new.",
    ),
    "error code of an operation new": (
        [((*WHOAMI, "x-errors"), plus("FORBIDDEN"))],
        "getWhoami/x-errors",
        "The error code FORBIDDEN is new.",
    ),
    "assumed error code of an operation gone": (
        [((*WHOAMI, "x-errors"), less("UNAUTHORIZED"))],
        "getWhoami/x-errors",
        "The error code UNAUTHORIZED is gone. That was assumed only.",
    ),
    "error code new": (
        [((*CODES, "TEAPOT"), {"says": "Short and stout.", "statuses": [418], "source": "docs"})],
        "x-error-codes/TEAPOT",
        "The code is new.",
    ),
    "error code with one more status": (
        [((*CODES, "INVALID_INPUTS", "statuses"), plus(422))],
        "x-error-codes/INVALID_INPUTS",
        "It comes with 422 too.",
    ),
    "context field new": (
        [((*CODES, "INVALID_INPUTS", "context"), ["field"])],
        "x-error-codes/INVALID_INPUTS",
        "The context field field is new.",
    ),
    "fact new": (
        [(("x-facts", "health.fast"), {"says": "Health answers fast.", "source": "docs"})],
        "x-facts/health.fast",
        "The promise is new (docs).",
    ),
    "assumed fact documented": (
        [(("x-facts", "run.model-ms", "source"), "docs")],
        "x-facts/run.model-ms",
        "The source was assumed and is now docs.",
    ),
    "parameter new and optional": (
        [((*USAGE, "parameters"), plus(OPTIONAL))],
        "listUsage/parameters/query/after",
        "The parameter is new.",
    ),
    "parameter's values more": (
        [(STATUS, plus("cancelled"))],
        "listUsage/parameters/query/status",
        '"cancelled" may now be sent too; the set was closed.',
    ),
    "parameter's bound loosened": (
        [((*LIMIT, "maximum"), 1000)],
        "listUsage/parameters/query/limit",
        "maximum was 500 and is now 1000.",
    ),
    "body member new and optional": (
        [((*RUN_REQUEST, "properties"), also(label={"type": "string"}))],
        "runWorkflow/requestBody/label",
        "The member is new.",
    ),
    "body member now optional": (
        [((*RUN_REQUEST, "required"), [])],
        "runWorkflow/requestBody/inputs",
        "The member may now be missing.",
    ),
    "body type widened": (
        [((*RUN_REQUEST, "properties", "inputs", "type"), ["object", "array"])],
        "runWorkflow/requestBody/inputs",
        "The type was object and is now array or object.",
    ),
    "body now optional": (
        [((*RUN, "requestBody", "required"), False)],
        "runWorkflow/requestBody",
        "The body may now be left out.",
    ),
    "body new and optional": (
        [((*LIST, "requestBody"), {"content": {"application/json": {"schema": {"type": "object"}}}})],
        "listWorkflows/requestBody",
        "A body may now be sent.",
    ),
    "status new": (
        [((*WHOAMI, "responses", "403"), {"$ref": "#/components/responses/CapabilityDenied"})],
        "getWhoami/responses/403",
        "The status is new.",
    ),
    "assumed status gone": (
        [((*RUN, "responses", "202"), GONE)],
        "runWorkflow/responses/202",
        "The status is gone. That was assumed only.",
    ),
    "response member new": (
        [((*USER, "properties"), also(plan={"type": "string"}))],
        "getWhoami/responses/200/body/user/plan",
        "The member is new.",
    ),
    "response member now certain": (
        [((*SCHEMAS, "WorkflowSummary", "required"), plus("cover"))],
        "listWorkflows/responses/200/body/*/cover",
        "The member must now be there.",
    ),
    "response type narrowed": (
        [((*SCHEMAS, "UsageRow", "properties", "cost", "type"), "integer")],
        "listUsage/responses/200/body/rows/*/cost",
        "The type was number and is now integer.",
    ),
    "assumed response type widened": (
        [((*SCHEMAS, "UserId", "type"), ["string", "integer"])],
        "getWhoami/responses/200/body/user/id",
        "The type was string and is now integer or string. That was assumed only.",
    ),
    "assumed response member may be missing": (
        [((*SCHEMAS, "ModelRunResult", "allOf", 1, "required"), [])],
        "runModel/responses/200/body/else/ms",
        "The member may now be missing. That was assumed only.",
    ),
    "open set grows": (
        [((*USER, "properties", "tier", "examples"), plus("team"))],
        "getWhoami/responses/200/body/user/tier",
        '"team" is new in an open set.',
    ),
    "response rule new": (
        [((*USER, "properties", "email", "pattern"), "@")],
        "getWhoami/responses/200/body/user/email",
        'The rule {"pattern": "@"} is new.',
    ),
    "header new": (
        [
            (
                (*RUN, "responses", "500"),
                {
                    **OLD.raw["components"]["responses"]["ExecutionFailed"],
                    "headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}},
                },
            )
        ],
        "runWorkflow/responses/500/headers/Retry-After",
        "The header is new.",
    ),
    "header now certain": (
        [((*HEADERS, "X-RateLimit-Reset", "required"), True)],
        "runWorkflow/responses/200/headers/X-RateLimit-Reset",
        "The header must now be there.",
    ),
    "delivery new": (
        [(("webhooks", "execution.started"), OLD.raw["webhooks"]["execution.failed"])],
        "webhooks",
        "The delivery execution.started is new.",
    ),
    "member of a delivery new": (
        [((*SCHEMAS, "Delivery", "properties"), also(attempt={"type": "integer"}))],
        "webhooks/execution.failed/body/attempt",
        "The member is new.",
    ),
}

NEUTRAL = {
    "nothing": [],
    "a text": [((*WHOAMI, "summary"), "Say who I am")],
    "a fact better said": [(("x-facts", "health.shape", "says"), "Health is an object.")],
    "an example": [((*USER, "properties", "email"), also(examples=["bo@example.com"]))],
    "a shape in place of a reference": [
        ((*USER, "properties", "id"), OLD.raw["components"]["schemas"]["UserId"])
    ],
    "a shape in allOf": [((*WHOAMI_BODY,), lambda old: {"x-fact": old["x-fact"], "allOf": [old]})],
    "a member moved into allOf": [
        (USER, lambda old: old | {
            "properties": without("email")(old["properties"]),
            "allOf": [{"properties": {"email": {"type": "string"}}}],
        }),
    ],
    "a type said of a closed set": [((*USER, "properties", "role", "type"), "string")],
    "required in another order": [((*USER, "required"), lambda old: old[::-1])],
    "a placeholder renamed": [
        renamed(("paths", "/api/workflows/{slug}/schema"), "/api/workflows/{name}/schema"),
        (("paths", "/api/workflows/{name}/schema", "parameters"), [
            {**OLD.raw["components"]["parameters"]["slug"], "name": "name"}
        ]),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("edits", "place", "says"), BREAKING.values(), ids=BREAKING)
def test_change_that_clients_may_notice_is_breaking(edits, place, says):
    found = differences(OLD, changed(*edits))

    assert (Kind.BREAKING, says) in {(each.kind, each.says) for each in found}
    assert place is None or Difference(kind=Kind.BREAKING, place=place, says=says) in found


@pytest.mark.parametrize(("edits", "place", "says"), ADDITIVE.values(), ids=ADDITIVE)
def test_addition_is_not_breaking(edits, place, says):
    found = differences(OLD, changed(*edits))

    assert Difference(kind=Kind.ADDITIVE, place=place, says=says) in found
    assert [each for each in found if each.kind is Kind.BREAKING] == []


@pytest.mark.parametrize("edits", NEUTRAL.values(), ids=NEUTRAL)
def test_other_notation_of_the_same_contract_is_no_difference(edits):
    assert differences(OLD, changed(*edits)) == []


def test_difference_is_listed_at_each_place_that_uses_a_shape():
    found = differences(OLD, changed(((*SCHEMAS, "Throttling", "allOf", 1, "then", "required"), ["tier"])))

    operations = {each.place.split("/")[0] for each in found}
    assert operations == {each.id for each in OLD.operations if 429 in each.responses}


def test_comparison_of_recursive_shapes_ends():
    """A recursive shape is compared once for each way into it."""
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/components/schemas/Link"}, "n": {"type": "integer"}},
    }
    edits = [
        ((*SCHEMAS, "Link"), node),
        ((*USER, "properties"), also(link={"$ref": "#/components/schemas/Link"})),
    ]
    old, new = changed(*edits), changed(*edits, ((*SCHEMAS, "Link", "properties", "n", "type"), "string"))

    found = differences(old, new)

    assert [(each.kind, each.place) for each in found] == [
        (Kind.BREAKING, "getWhoami/responses/200/body/user/link/n")
    ]


def test_comparison_of_a_schema_that_is_its_own_reference_ends():
    loop = [((*SCHEMAS, "Loop"), {"allOf": [{"$ref": "#/components/schemas/Loop"}]})]
    old = changed(*loop, ((*USER, "properties"), also(loop={"$ref": "#/components/schemas/Loop"})))

    assert differences(old, old) == []


def test_broken_schema_is_refused():
    broken = changed(((*USER, "properties", "email", "type"), "text"))

    with pytest.raises(DocumentError, match="email/type: not a JSON Schema"):
        differences(OLD, broken)


def test_security_scheme_that_is_not_a_mapping_is_refused():
    broken = changed((("components", "securitySchemes", "apiKey"), "x-api-key"))

    with pytest.raises(DocumentError, match="securitySchemes/apiKey: must be a mapping"):
        differences(OLD, broken)


OPERATIONS = st.sampled_from(
    [(path, method) for path, item in OLD.raw["paths"].items() for method in item if method != "parameters"]
)
NAMES = st.from_regex(r"z[a-z]{2,8}", fullmatch=True)
TYPES = st.sampled_from(["string", "integer", "boolean", "object", "array"])


@st.composite
def additive_edits(draw):
    """Draw a few edits that the overview allows without notice."""
    edits = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        path, method = draw(OPERATIONS)
        place, schema = ("paths", path, method), {"type": draw(TYPES)}
        shapes = [key for key, value in OLD.raw["components"]["schemas"].items() if "properties" in value]
        shapes.remove("ModelIdsInObject")  # the response of this shape is assumed
        component = (*SCHEMAS, draw(st.sampled_from(shapes)), "properties")
        code = {"says": "New.", "statuses": [draw(st.integers(400, 599))], "source": "docs"}
        edits += draw(
            st.sampled_from(
                [
                    [(component, also(**{name: schema}))],
                    [((*place, "parameters"), plus({"name": name, "in": "query", "schema": schema}))],
                    [((*CODES, name.upper()), code), ((*place, "x-errors"), plus(name.upper()))],
                    [
                        (
                            ("x-facts", f"{name}.new"),
                            {"says": "New.", "source": draw(st.sampled_from(["docs", "assumed"]))},
                        )
                    ],
                    [
                        (
                            ("paths", f"/api/{name}"),
                            {"get": OLD.raw["paths"]["/api/health"]["get"] | {"operationId": name}},
                        )
                    ],
                    [((*RUN, "x-capabilities", "anyOf"), plus(f"workflow:{name}"))],
                    [((*USER, "properties", "tier", "examples"), plus(name))],
                    [((*STATUS,), plus(name))],
                ]
            )
        )
    return edits


@settings(max_examples=settings().max_examples // 3)  # compares whole documents
@given(edits=additive_edits())
@example(edits=[])
def test_additive_edits_never_break(edits):
    """Removing them again is breaking, unless they were only assumed."""
    promised = [
        path
        for path, value in edits
        if path[-1] != "examples" and not (isinstance(value, dict) and value.get("source") == "assumed")
    ]
    new = changed(*edits)

    added, taken_back = differences(OLD, new), differences(new, OLD)

    assert [each for each in added if each.kind is Kind.BREAKING] == []
    assert bool(added) == bool(edits)
    assert any(each.kind is Kind.BREAKING for each in taken_back) == bool(promised)
