"""Rules for the document beyond OpenAPI, one test each; spec/README.md gives the reasons."""

import re

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source, is_capability, placeholders

DOCUMENT = shipped_document()
RAW = DOCUMENT.raw
EACH_OPERATION = pytest.mark.parametrize("operation", DOCUMENT.operations, ids=lambda operation: operation.id)

# Exempt from naming a capability: any valid key may.
ANY_VALID_KEY = {"getWhoami", "listUsage", "listUsageModels"}
# Sets that a source closes, so `enum` is right.
CLOSED_SETS = [
    ["user", "admin"],
    ["processing", "completed", "failed"],
    ["processing", "cancel_requested", "completed", "failed", "cancelled"],
    ["processing", "completed", "failed", "cancelled"],
    ["completed", "failed"],  # selects a branch
    ["api-slim", "api-workflow"],
]
# Facts about the whole API, or about one kind of key; no single operation or shape could cite them.
AT_LARGE = re.compile(
    r"(ground|envelope|auth|tier)\.|capability\.(?!any-valid)|rate\.(remaining|window|over|body|per-user|headers-on)"
    r"|async\.submit-status-code"
)
CONDITION = re.compile(r"(.+?)(?:/allOf/\d+)?/then")
DATA_KEYS = {"example", "examples", "value", "default", "const"}


def nodes(node, pointer=""):
    """Yield every mapping of the document that is not data, with its pointer."""
    if isinstance(node, dict):
        yield pointer, node
        for key, value in node.items():
            if key not in DATA_KEYS:
                yield from nodes(value, f"{pointer}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{pointer}/{index}")


NODES = dict(nodes(RAW))


def facts_cited_by(node):
    one, several = node.get("x-fact"), node.get("x-facts")
    return ({one} - {None}) | set(several if isinstance(several, list) else ())  # or it is the catalogue


def operation_node(operation):
    return RAW["paths"][operation.path][operation.method.lower()]


def test_cited_facts_and_sources_exist():
    for pointer, node in NODES.items():
        assert facts_cited_by(node) <= DOCUMENT.facts.keys(), pointer
        assert node.get("x-source", "docs") in ("overview", "docs", "assumed"), pointer


@EACH_OPERATION
def test_operation_is_named_and_described(operation):
    node = operation_node(operation)

    assert re.fullmatch(r"(get|list|create|update|move|delete|run|cancel)([A-Z][a-z]+)+", operation.id)
    assert node["description"].strip()
    assert not node["summary"].endswith(".")
    assert node["tags"] in [[tag["name"]] for tag in RAW["tags"]]


@EACH_OPERATION
def test_operation_names_its_capabilities_and_refusals(operation):
    values = dict.fromkeys(operation.path_parameters, "harbour-at-dawn")
    bound = [capability for capability in operation.alternatives if placeholders(capability)]

    assert bool(operation.alternatives) != (operation.is_public or operation.id in ANY_VALID_KEY)
    assert all(is_capability(capability) for capability in operation.required_capabilities(values))
    assert bool(bound) == operation.id.startswith("run")
    assert (401 in operation.responses) != operation.is_public
    assert (403 in operation.responses) == bool(operation.alternatives)


@EACH_OPERATION
def test_error_codes_are_those_of_the_examples(operation):
    """They fit the catalogue, and a key can provoke them."""
    shown = [
        (response.status, example)
        for response in operation.responses.values()
        if response.status >= 400
        for example in response.examples.values()
    ]

    assert {example["code"] for _, example in shown} == set(operation.error_codes)
    assert all(DOCUMENT.error_codes[code].key_can_provoke for code in operation.error_codes)
    for status, example in shown:
        code = DOCUMENT.error_codes[example["code"]]
        assert status in code.statuses
        assert set(code.context_fields) <= set(example)


def test_every_other_code_is_on_an_operation():
    used = {code for operation in DOCUMENT.operations for code in operation.error_codes}

    assert used == {code.code for code in DOCUMENT.error_codes.values() if code.key_can_provoke}


@EACH_OPERATION
def test_bodies_have_examples_and_responses_facts(operation):
    assert bool(operation.request_examples) == (operation.request_schema is not None)
    for response in operation.responses.values():
        assert response.examples, response.status
        assert response.facts, response.status
        if response.status < 300 and response.source is Source.ASSUMED:
            assert DOCUMENT.facts[response.fact].source is Source.ASSUMED


def test_only_runs_document_server_errors():
    statuses = {(operation.id, status) for operation in DOCUMENT.operations for status in operation.responses}

    assert {pair for pair in statuses if pair[1] >= 500} == {("runWorkflow", 500), ("runModel", 500)}


@pytest.mark.parametrize(
    "breaks",
    [
        pytest.param(
            lambda node: (
                {"x-fact", "x-source"} <= node.keys()
                and DOCUMENT.facts[node["x-fact"]].source != node["x-source"]
            ),
            id="the source of a schema is that of its fact",
        ),
        pytest.param(
            lambda node: "enum" in node and node["enum"] not in CLOSED_SETS,
            id="enumerations are closed by a source",
        ),
        pytest.param(
            lambda node: (
                node.get("type") == "object"
                and not {"properties", "allOf", "additionalProperties"} & node.keys()
            ),
            id="an object without members is explicitly open, or generators create a type without members",
        ),
        pytest.param(
            lambda node: (
                [list(branch) for branch in node.get("allOf", ())] == [["$ref"]] and "required" in node
            ),
            id="an extension of a reference is a branch, as generators drop required beside one reference",
        ),
        pytest.param(
            lambda node: "array" in str(node.get("type")) and "items" not in node, id="arrays have items"
        ),
        pytest.param(
            lambda node: not all(isinstance(each, dict) for each in node.get("properties", {}).values()),
            id="schemas are objects, as generators refuse true and false",
        ),
    ],
)
def test_no_node_breaks_a_rule(breaks):
    assert [pointer for pointer, node in NODES.items() if breaks(node)] == []


def test_assumed_schema_has_its_own_fact():
    """Otherwise it would be judged as part of the documented shape around it."""
    schemas = nodes(RAW["components"]["schemas"])

    assert [pointer for pointer, node in schemas if "x-source" in node and "x-fact" not in node] == []


def test_objects_are_open():
    closing = {"unevaluatedProperties", "propertyNames", "maxProperties"}

    assert [pointer for pointer, node in NODES.items() if closing & node.keys()] == []
    assert [p for p, node in NODES.items() if node.get("additionalProperties", True) is not True] == []


def test_open_sets_have_strings_and_examples():
    said = {p: node for p, node in NODES.items() if str(node.get("description", "")).startswith("Open set:")}

    assert said
    for pointer, node in said.items():
        if "in" not in node:  # a parameter's examples are beside its schema
            assert node["type"] == "string", pointer
        assert node["examples"], pointer


def test_judged_shapes_have_no_anyof_or_oneof():
    """Their mismatches would not say which branch was meant; if and then do."""
    choices = [
        p
        for p, node in NODES.items()
        if p.startswith("/components/schemas") and {"anyOf", "oneOf"} & node.keys()
    ]

    assert choices == ["/components/schemas/LooksSubmitted"]  # used in if


def test_alternatives_of_a_body_have_an_anyof_for_generators():
    """Generators do not read if; the harness does not judge by the anyOf of the same two shapes."""
    alternatives = [node for node in NODES.values() if "else" in node]

    assert len(alternatives) == 3
    for node in alternatives:
        assert node["anyOf"] in ([node["then"], node["else"]], [node["else"], node["then"]])


def test_members_typed_in_a_condition_are_named_outside_of_it():
    """Generators do not read conditions; this way clients have the member, with any type."""
    unnamed = [
        (pointer, name)
        for pointer, node in NODES.items()
        if (condition := CONDITION.fullmatch(pointer))
        for name in node.get("properties", {})
        if name not in NODES[condition[1]].get("properties", {})
    ]

    assert unnamed == []


def test_conflicts_are_noted_at_their_places():
    told = [pointer for pointer, node in NODES.items() if "x-conflict" in node]
    in_conflict = {fact.id for fact in DOCUMENT.facts.values() if fact.conflict}

    assert len(told) == len(in_conflict) == 3


def test_each_fact_is_one_sentence_of_its_own():
    """Its id is an area and a statement."""
    says = [fact.says for fact in DOCUMENT.facts.values()]
    ids = re.compile(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*")

    assert [each for each in says if not each.endswith(".") or len(each) > 160] == []
    assert [fact for fact in DOCUMENT.facts if not ids.fullmatch(fact)] == []
    assert len(set(says)) == len(says)


def test_fact_is_cited_in_the_document():
    cited = {fact for node in NODES.values() for fact in facts_cited_by(node)}

    assert [fact for fact in DOCUMENT.facts if fact not in cited and not AT_LARGE.match(fact)] == []


# -- links and webhooks

LINKS = RAW["components"]["links"]
OF_A_WORKFLOW = {
    each.id
    for each in DOCUMENT.operations
    if each.path_parameters == ("slug",) and each.id != "getPublicWorkflowSchema"
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_link_fills_every_parameter_of_its_path(link):
    """And says when it holds."""
    assert set(link["parameters"]) == set(DOCUMENT.operation_by_id[link["operationId"]].path_parameters)
    assert link["description"].startswith("Holds ")


@pytest.mark.parametrize(
    ("operation_id", "status", "targets"),
    [
        ("createWorkflow", "201", OF_A_WORKFLOW),
        ("runWorkflow", "202", {"getExecution", "cancelExecution"}),
        ("runModel", "200", {"getExecution", "cancelExecution"}),
        ("listWorkflows", "200", {"getWorkflow"}),
        ("getExecution", "200", {"cancelExecution"}),
        ("cancelExecution", "200", {"getExecution"}),
    ],
)
def test_stateful_chain_is_linked(operation_id, status, targets):
    response = operation_node(DOCUMENT.operation_by_id[operation_id])["responses"][status]
    if "$ref" in response:
        response = RAW["components"]["responses"][response["$ref"].rpartition("/")[2]]
    links = [
        LINKS[link["$ref"].rpartition("/")[2]] if "$ref" in link else link
        for link in response["links"].values()
    ]

    assert {link["operationId"] for link in links} == targets


EVENTS = ["execution.completed", "execution.failed", "execution.cancelled", "webhook.test"]


def test_each_event_has_its_webhook():
    assert list(RAW["webhooks"]) == EVENTS


@pytest.mark.parametrize("event", EVENTS)
def test_webhook_has_a_signature_and_examples(event):
    delivery = RAW["webhooks"][event]["post"]
    examples = delivery["requestBody"]["content"]["application/json"]["examples"]

    assert delivery["security"] == []
    assert delivery["parameters"] == [{"$ref": "#/components/parameters/signature"}]
    assert {example["value"]["event"] for example in examples.values()} == {event}


def test_examples_tell_one_story():
    created = DOCUMENT.operation_by_id["createWorkflow"].responses[201].examples["document"]
    submitted = DOCUMENT.operation_by_id["runWorkflow"].responses[202].examples["submitted"]
    polled = DOCUMENT.operation_by_id["getExecution"].responses[200].examples["completed"]
    rows = DOCUMENT.operation_by_id["listUsage"].responses[200].examples["ada"]["rows"]
    media = RAW["webhooks"]["execution.completed"]["post"]["requestBody"]["content"]["application/json"]
    delivered = media["examples"]["workflow"]["value"]
    billed = next(row for row in rows if row["requestId"] == submitted["requestId"])

    assert created["slug"] == submitted["workflowSlug"] == delivered["workflowSlug"] == billed["workflowSlug"]
    assert submitted["executionId"] == polled["executionId"] == delivered["executionId"]
    assert polled["result"] == delivered["result"]
