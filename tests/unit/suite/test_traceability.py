"""Checks, facts and profile fit together: no claim is undeclared, and every need is named."""

from example_targets import make_target

from knouds_harness.contract.document import shipped_document
from knouds_harness.judging.checks import schemas
from knouds_harness.suite.discovery.provable_facts import missing_by_need

DOCUMENT = shipped_document()


def test_shape_check_names_every_fact_of_a_success():
    successes = [
        response
        for operation in DOCUMENT.operations
        for response in operation.responses.values()
        if response.status < 400
    ]
    cited = {fact for response in successes for fact in response.facts}
    cited_by_headers = {header.fact for response in successes for header in response.headers.values()}

    assert cited - cited_by_headers == set(schemas.SHAPE_FACTS)


def test_missing_resources_are_named_with_the_checks_that_need_them():
    missing = missing_by_need(make_target())

    assert "auth.revoked-key-is-401" in missing['a key with state = "revoked"']
    assert "capability.star-is-admitted" in missing['an administrator\'s key that holds "*"']
    assert "run.success-shape" in missing["a key that holds workflow:run, for a workflow of its account"]
