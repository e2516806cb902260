"""The document is read, or refused with the place and the reason."""

import copy
import json

import pytest

from knouds_harness.contract.document import load_document
from knouds_harness.contract.sources import Source
from knouds_harness.errors import DocumentError

DOCUMENT = load_document()
WHOAMI = "/paths/~1api~1whoami/get"
LIST = "/paths/~1api~1workflows/get"


def test_fact_has_its_source():
    fact = DOCUMENT.facts["async.submit-status-code"]

    assert (fact.source, fact.conflict) == (Source.ASSUMED, None)


def test_conflict_is_kept_with_its_fact():
    assert "object" in (DOCUMENT.facts["workflows.list-is-array"].conflict or "")


def test_error_code_carries_its_context():
    code = DOCUMENT.error_codes["RATE_LIMIT_EXCEEDED"]

    assert (code.statuses, code.context_fields) == ((429,), ("tier", "limit", "retryAfter"))


def test_codes_of_key_creation_cannot_be_provoked_by_keys():
    out_of_reach = {code.code for code in DOCUMENT.error_codes.values() if not code.key_can_provoke}

    assert out_of_reach == {"INVALID_CAPABILITY", "CAPABILITY_ABOVE_CEILING", "API_KEY_ACCESS_DENIED"}


def test_referenced_response_is_read():
    response = DOCUMENT.operation_by_id["getWhoami"].responses[401]

    assert set(response.examples) == {"plain", "legacy"}


def test_hash_is_of_the_bytes_of_the_file(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    text = json.dumps(DOCUMENT.raw)
    one.write_text(text)
    other.write_text(text + "\n")

    assert load_document(one).sha256 != load_document(other).sha256


def test_yaml_error_names_its_place(tmp_path):
    path = tmp_path / "openapi.yaml"
    path.write_text("openapi: 3.1.0\ninfo: {title: [}\n")

    with pytest.raises(DocumentError, match=r"not YAML: .*line 2, column 16"):
        load_document(path)


# What is broken (a path of keys and a new value; ... removes the key), and the message: place and reason.
BROKEN = {
    "empty": ([], None, "/: must be a mapping, is empty."),
    "a list": ([], [], "/: must be a mapping, is a list."),
    "no version": (["openapi"], ..., "/: openapi is missing."),
    "an old version": (["openapi"], "3.0.3", '/openapi: must be a version 3.1, is "3.0.3".'),
    "no facts": (["x-facts"], ..., "/: x-facts is missing."),
    "no codes": (["components", "x-error-codes"], ..., "/components: x-error-codes is missing."),
    "a fact without a sentence": (
        ["x-facts", "health.shape", "says"],
        ...,
        "/x-facts/health.shape: says is missing.",
    ),
    "a fact of an unknown source": (
        ["x-facts", "health.shape", "source"],
        "rumour",
        '/x-facts/health.shape/source: must be one of overview, docs, assumed, is "rumour".',
    ),
    "a code with a textual status": (
        ["components", "x-error-codes", "NOT_FOUND", "statuses"],
        ["404"],
        '/components/x-error-codes/NOT_FOUND/statuses/0: must be a whole number, is "404".',
    ),
    "no operationId": (
        ["paths", "/api/whoami", "get", "operationId"],
        ...,
        f"{WHOAMI}: operationId is missing.",
    ),
    "an operationId taken": (
        ["paths", "/api/workflows", "get", "operationId"],
        "getWhoami",
        f'{LIST}/operationId: "getWhoami" is taken by another operation.',
    ),
    "an operation without a source": (
        ["paths", "/api/whoami", "get", "x-source"],
        ...,
        f"{WHOAMI}: x-source is missing.",
    ),
    "an operation without errors": (
        ["paths", "/api/whoami", "get", "x-errors"],
        ...,
        f"{WHOAMI}: x-errors is missing.",
    ),
    "an unknown error code": (
        ["paths", "/api/whoami", "get", "x-errors"],
        ["OOPS"],
        f'{WHOAMI}/x-errors: there is no error code "OOPS" in components.x-error-codes.',
    ),
    "an unknown fact": (
        ["paths", "/api/whoami", "get", "x-facts"],
        ["whoami.nope"],
        f'{WHOAMI}: there is no fact "whoami.nope" in x-facts.',
    ),
    "an unknown fact in a schema": (
        ["components", "schemas", "Slug", "x-fact"],
        "slug.nope",
        '/components/schemas/Slug: there is no fact "slug.nope" in x-facts.',
    ),
    "an unknown source in a schema": (
        ["components", "schemas", "UserId", "x-source"],
        "rumour",
        '/components/schemas/UserId: x-source must be one of overview, docs, assumed, is "rumour".',
    ),
    "a misspelt capability": (
        ["paths", "/api/workflows", "get", "x-capabilities", "anyOf"],
        ["workflow.read"],
        f'{LIST}/x-capabilities/anyOf/0: "workflow.read" is not a capability',
    ),
    "a capability for another path": (
        ["paths", "/api/workflows", "get", "x-capabilities", "anyOf"],
        ["workflow:{slug}:run"],
        f'{LIST}/x-capabilities/anyOf/0: "workflow:{{slug}}:run" has a placeholder that the path',
    ),
    "capabilities that name none": (
        ["paths", "/api/workflows", "get", "x-capabilities", "anyOf"],
        [],
        f"{LIST}/x-capabilities/anyOf: must name a capability",
    ),
    "a default response": (
        ["paths", "/api/whoami", "get", "responses", "default"],
        {"description": "Anything."},
        f"{WHOAMI}/responses/default: must be an HTTP status",
    ),
    "a reference to nowhere": (
        ["paths", "/api/whoami", "get", "responses", "401", "$ref"],
        "#/components/responses/Nope",
        f'{WHOAMI}/responses/401: the reference "#/components/responses/Nope" leads nowhere.',
    ),
    "a reference out of the document": (
        ["components", "schemas", "WorkflowSummary", "properties", "slug", "$ref"],
        "other.yaml#/Slug",
        "/components/schemas/WorkflowSummary/properties/slug: the reference 'other.yaml#/Slug' must lead",
    ),
    "a reference to itself": (
        ["components", "responses", "Unauthorized"],
        {"$ref": "#/components/responses/Unauthorized"},
        "the reference leads back to itself.",
    ),
    "a path parameter undeclared": (
        ["components", "parameters", "slug", "name"],
        "workflow",
        "path parameters ['workflow'] must be the placeholders ['slug'] of the path.",
    ),
    "an example without a value": (
        ["components", "examples", "rateLimited", "value"],
        ...,
        "/components/examples/rateLimited: value is missing.",
    ),
    "a method that is a text": (
        ["paths", "/api/whoami", "get"],
        "whoami",
        f'{WHOAMI}: must be a mapping, is "whoami".',
    ),
}


@pytest.mark.parametrize(("path", "value", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_document_is_refused_with_place_and_reason(tmp_path, path, value, message):
    broken = tmp_path / "openapi.yaml"
    broken.write_text(json.dumps(_changed(path, value)))

    with pytest.raises(DocumentError) as refusal:
        load_document(broken)

    assert message in str(refusal.value)
    assert str(refusal.value).startswith(f"{broken}: /")


def test_numeric_status_is_refused_with_a_remedy(tmp_path):
    broken = tmp_path / "openapi.yaml"
    broken.write_text(json.dumps(DOCUMENT.raw).replace('"200": ', "200: "))

    with pytest.raises(DocumentError, match="the key 200 must be a string: put it in quotes"):
        load_document(broken)


def test_all_errors_are_listed_at_once(tmp_path):
    raw = copy.deepcopy(DOCUMENT.raw)
    del raw["paths"]["/api/whoami"]["get"]["operationId"]
    del raw["x-facts"]["health.shape"]["says"]
    raw["components"]["x-error-codes"]["NOT_FOUND"]["statuses"] = 404
    broken = tmp_path / "openapi.yaml"
    broken.write_text(json.dumps(raw))

    with pytest.raises(DocumentError) as refusal:
        load_document(broken)

    for place in (f"{WHOAMI}:", "/x-facts/health.shape:", "/components/x-error-codes/NOT_FOUND/statuses:"):
        assert place in str(refusal.value)


def _changed(path, value):
    if not path:
        return value
    raw = copy.deepcopy(DOCUMENT.raw)
    node = raw
    for step in path[:-1]:
        node = node[step]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return raw
