"""The document is read into typed objects."""

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source

DOCUMENT = shipped_document()


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
