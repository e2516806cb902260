"""The tests that options select."""

from __future__ import annotations

import pytest

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import UsageError
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.selection import Selection, facts_of, facts_of_others

OPERATIONS = shipped_document().operations
IDS = [each.id for each in OPERATIONS]


@pytest.fixture(scope="module")
def suite():
    return collect_suite()


def about(suite, operation_id):
    selection = Selection(options=RunOptions(operations=(operation_id,)))
    return [item for item in suite if selection.keeps(item)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_facts_of_an_operation_are_shown_by_the_tests_about_it(suite, operation):
    shown_by_all = {fact for item in suite for fact in facts_of(item)}

    shown = {fact for item in about(suite, operation.id) for fact in facts_of(item)}

    assert shown_by_all.intersection(operation.facts) <= shown


@pytest.mark.parametrize("operation_id", IDS)
def test_few_tests_are_about_one_operation(suite, operation_id):
    kept = about(suite, operation_id)

    params = [item.callspec.params for item in kept if hasattr(item, "callspec")]
    assert {getattr(each.get("operation"), "id", operation_id) for each in params} <= {operation_id}
    assert {each.get("operation_id", operation_id) for each in params} <= {operation_id}
    assert len(kept) < len(suite) / 4


def test_facts_only_of_other_operations_are_left_out():
    left_out = facts_of_others({"getWhoami"})

    assert "run.bad-slug-is-invalid-slug" in left_out
    assert left_out.isdisjoint(
        {"capability.any-valid-key-suffices", "whoami.user-object", "auth.key-in-x-api-key"}
    )
    assert facts_of_others(()) == frozenset()


def test_family_of_the_users_own_tests_needs_one():
    with pytest.raises(UsageError, match="there is no test of your own"):
        Selection(options=RunOptions(families=("user",)))


def test_selection_is_told_as_it_was_typed():
    options = RunOptions(families=("usage", "runs"), facts=("run.model-ms",), quick=True)

    told = Selection(options=options).asked

    assert told == "--family usage --family runs --fact run.model-ms --quick"


@pytest.mark.parametrize("fact", ["envelope.no-internals", "ground.json-content-type"])
def test_fact_of_every_answer_selects_the_tests_that_are_about_it(suite, fact):
    selection = Selection(options=RunOptions(facts=(fact,)))

    kept = [item for item in suite if selection.keeps(item)]

    assert any(fact in facts_of(item) for item in kept)
    assert len(kept) < len(suite) / 5
