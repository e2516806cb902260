"""The rules of this document that no standard asks for, one test each; spec/README.md gives the reasons."""

import re
from collections import Counter

import pytest

from knouds_harness.contract.capabilities import is_capability
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import placeholders
from knouds_harness.contract.sources import Source

DOCUMENT = shipped_document()
RAW = DOCUMENT.raw
EACH_OPERATION = pytest.mark.parametrize("operation", DOCUMENT.operations, ids=lambda operation: operation.id)

# Exempt from naming a capability: any valid key may.
ANY_VALID_KEY = {"getWhoami", "listUsage", "listUsageModels"}
# Closed by a source, so that `enum` is right.
CLOSED_SETS = [
    ["user", "admin"],
    ["processing", "completed", "failed"],
    ["processing", "cancel_requested", "completed", "failed", "cancelled"],
    ["processing", "completed", "failed", "cancelled"],
    ["completed", "failed"],  # selects a branch
    ["api-slim", "api-workflow"],
]
# Facts about the API at large, or about one kind of key; no single operation or shape could cite them.
AT_LARGE = re.compile(
    r"(ground|envelope|auth|tier)\.|capability\.(?!any-valid)|rate\.(remaining|window|over|body|per-user|headers-on)"
    r"|async\.submit-status-code"
)
CONDITION = re.compile(r"(.+?)(?:/allOf/\d+)?/then")
DATA_KEYS = {"example", "examples", "value", "default", "const"}


def nodes(node, pointer=""):
    """Every mapping of the document that is no data, with the pointer to it."""
    if isinstance(node, dict):
        yield pointer, node
        for key, value in node.items():
            if key not in DATA_KEYS:
                yield from nodes(value, f"{pointer}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{pointer}/{index}")


NODES = dict(nodes(RAW))


def permuted(*shapes):
    return [list(shapes), list(reversed(shapes))]


def operation_node(operation):
    return RAW["paths"][operation.path][operation.method.lower()]


def test_sections_stand_in_the_usual_order():
    order = [
        "openapi",
        "info",
        "servers",
        "tags",
        "security",
        "paths",
        "webhooks",
        "components",
        "x-session-only-paths",
        "x-facts",
    ]

    assert list(RAW) == order


@EACH_OPERATION
def test_operation_id_is_verb_and_noun(operation):
    assert re.fullmatch(r"(get|list|create|update|move|delete|run|cancel)([A-Z][a-z]+)+", operation.id)


@EACH_OPERATION
def test_operation_is_described(operation):
    node = operation_node(operation)

    assert node["description"].strip()
    assert not node["summary"].endswith(".")


@EACH_OPERATION
def test_operation_has_one_known_tag(operation):
    assert operation_node(operation)["tags"] in [[tag["name"]] for tag in RAW["tags"]]


@EACH_OPERATION
def test_secured_operation_names_its_capabilities(operation):
    exempt = operation.is_public or operation.id in ANY_VALID_KEY

    assert bool(operation.alternatives) != exempt


@EACH_OPERATION
def test_capabilities_follow_the_grammar(operation):
    values = dict.fromkeys(operation.path_parameters, "harbour-at-dawn")

    assert all(is_capability(capability) for capability in operation.required_capabilities(values))


@EACH_OPERATION
def test_bound_form_is_admitted_on_runs_only(operation):
    bound = [capability for capability in operation.alternatives if placeholders(capability)]

    assert bool(bound) == operation.id.startswith("run")


@EACH_OPERATION
def test_secured_operation_answers_401(operation):
    assert (401 in operation.responses) != operation.is_public


@EACH_OPERATION
def test_operation_that_asks_for_a_capability_answers_403(operation):
    assert (403 in operation.responses) == bool(operation.alternatives)


@EACH_OPERATION
def test_every_error_code_is_shown_and_every_shown_one_is_listed(operation):
    shown = {
        example["code"]
        for response in operation.responses.values()
        if response.status >= 400
        for example in response.examples.values()
    }

    assert shown == set(operation.error_codes)


@EACH_OPERATION
def test_codes_of_key_making_are_on_no_operation(operation):
    assert all(DOCUMENT.error_codes[code].key_can_provoke for code in operation.error_codes)


def test_every_other_code_is_on_some_operation():
    used = {code for operation in DOCUMENT.operations for code in operation.error_codes}

    assert used == {code.code for code in DOCUMENT.error_codes.values() if code.key_can_provoke}


@EACH_OPERATION
def test_request_body_has_examples(operation):
    assert bool(operation.request_examples) == (operation.request_schema is not None)


@EACH_OPERATION
def test_response_has_examples(operation):
    assert [response.status for response in operation.responses.values() if not response.examples] == []


@EACH_OPERATION
def test_error_example_fits_the_catalogue(operation):
    for response in operation.responses.values():
        for example in response.examples.values() if response.status >= 400 else ():
            code = DOCUMENT.error_codes[example["code"]]
            assert response.status in code.statuses
            assert set(code.context_fields) <= set(example)


@EACH_OPERATION
def test_assumed_success_says_what_is_assumed(operation):
    for response in operation.responses.values():
        if response.status < 300 and response.source is Source.ASSUMED:
            assert DOCUMENT.facts[response.fact].source is Source.ASSUMED


@EACH_OPERATION
def test_response_shape_is_attributed(operation):
    assert [response.status for response in operation.responses.values() if not response.facts] == []


def test_server_errors_are_for_runs_alone():
    statuses = {(operation.id, status) for operation in DOCUMENT.operations for status in operation.responses}

    assert {pair for pair in statuses if pair[1] >= 500} == {("runWorkflow", 500), ("runModel", 500)}


def test_source_of_a_place_is_that_of_its_fact():
    cited = [
        (p, node["x-fact"], node["x-source"])
        for p, node in NODES.items()
        if {"x-fact", "x-source"} <= node.keys()
    ]

    assert [place for place in cited if DOCUMENT.facts[place[1]].source != place[2]] == []


def test_assumed_schema_cites_what_is_assumed():
    """Without a fact of its own, what is assumed would be judged as the documented shape around it."""
    schemas = nodes(RAW["components"]["schemas"])

    assert [pointer for pointer, node in schemas if "x-source" in node and "x-fact" not in node] == []


def test_objects_are_open():
    closing = {"unevaluatedProperties", "propertyNames", "maxProperties"}

    assert [pointer for pointer, node in NODES.items() if closing & node.keys()] == []
    assert [p for p, node in NODES.items() if node.get("additionalProperties", True) is not True] == []


def test_object_without_named_members_says_that_it_is_open():
    """Generators would make a type of it that takes no member."""
    mute = [
        pointer
        for pointer, node in NODES.items()
        if node.get("type") == "object" and not {"properties", "allOf", "additionalProperties"} & node.keys()
    ]

    assert mute == []


def test_enumerations_are_closed_by_a_source():
    assert [
        node["enum"] for node in NODES.values() if "enum" in node and node["enum"] not in CLOSED_SETS
    ] == []


def test_open_sets_say_so():
    said = {p: node for p, node in NODES.items() if str(node.get("description", "")).startswith("Open set:")}

    assert said
    for pointer, node in said.items():
        if "in" not in node:  # a parameter has its examples beside its schema
            assert node["type"] == "string", pointer
        assert node["examples"], pointer


def test_judged_shapes_offer_no_choice():
    """A mismatch of anyOf or oneOf would not say which branch was meant; if and then do."""
    choices = [
        p
        for p, node in NODES.items()
        if p.startswith("/components/schemas") and {"anyOf", "oneOf"} & node.keys()
    ]

    assert choices == ["/components/schemas/LooksSubmitted"]  # stands under if


def test_alternatives_of_a_body_are_named_for_generators():
    """They do not read if: an anyOf of the same two shapes beside it, which the harness does not judge by."""
    alternatives = [node for node in NODES.values() if "else" in node]

    assert len(alternatives) == 3
    assert [node for node in alternatives if node["anyOf"] not in permuted(node["then"], node["else"])] == []


def test_what_a_reference_is_extended_by_is_a_branch_too():
    """Generators take an allOf of one reference for the reference, and drop what is required beside it."""
    assert [
        pointer
        for pointer, node in NODES.items()
        if [list(branch) for branch in node.get("allOf", ())] == [["$ref"]] and "required" in node
    ] == []


def test_members_that_a_condition_types_are_named_beside_it():
    """Generators read no condition; so a client has the member, of any type."""
    unnamed = [
        (pointer, name)
        for pointer, node in NODES.items()
        if (condition := CONDITION.fullmatch(pointer))
        for name in node.get("properties", {})
        if name not in NODES[condition[1]].get("properties", {})
    ]

    assert unnamed == []


def test_schemas_are_objects():
    """True and false are schemas in 3.1, which generators refuse."""
    boolean = [
        (pointer, name)
        for pointer, node in NODES.items()
        if pointer.endswith("/properties")
        for name, schema in node.items()
        if not isinstance(schema, dict)
    ]

    assert boolean == []


def test_arrays_say_what_is_in_them():
    mute = [p for p, node in NODES.items() if "array" in str(node.get("type")) and "items" not in node]

    assert mute == []


def test_conflicts_are_told_where_they_show():
    told = [pointer for pointer, node in NODES.items() if "x-conflict" in node]
    in_conflict = {fact.id for fact in DOCUMENT.facts.values() if fact.conflict}

    assert len(told) == len(in_conflict) == 3


def test_fact_is_one_sentence():
    odd = [fact.id for fact in DOCUMENT.facts.values() if not fact.says.endswith(".") or len(fact.says) > 160]

    assert odd == []


def test_fact_ids_are_area_and_statement():
    assert [
        fact for fact in DOCUMENT.facts if not re.fullmatch(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", fact)
    ] == []


def test_no_two_facts_say_the_same():
    assert [
        says for says, count in Counter(fact.says for fact in DOCUMENT.facts.values()).items() if count > 1
    ] == []


def test_fact_is_cited_where_it_shows():
    cited = {node["x-fact"] for node in NODES.values() if "x-fact" in node}
    cited |= {
        name
        for node in NODES.values()
        for name in node.get("x-facts", ())
        if isinstance(node["x-facts"], list)
    }

    assert [fact for fact in DOCUMENT.facts if fact not in cited and not AT_LARGE.match(fact)] == []


# -- links and webhooks

LINKS = RAW["components"]["links"]


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_link_fills_every_parameter_of_its_path(link):
    assert set(link["parameters"]) == set(DOCUMENT.operation_by_id[link["operationId"]].path_parameters)


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_link_says_when_it_holds(link):
    assert link["description"].startswith("Holds ")


@pytest.mark.parametrize(
    ("operation_id", "status", "targets"),
    [
        (
            "createWorkflow",
            "201",
            {
                "getWorkflow",
                "updateWorkflow",
                "moveWorkflow",
                "deleteWorkflow",
                "getWorkflowSchema",
                "runWorkflow",
            },
        ),
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
def test_webhook_is_signed_and_shown(event):
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
