"""Generated input is what its strategy promises, by another oracle."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from knouds_harness.contract.document import shipped_document
from knouds_harness.suite.generation import strategies
from knouds_harness.targets.secrets import Secret


@given(key=strategies.unknown_keys().map(Secret.reveal))
def test_unknown_key_has_the_documented_form(key):
    assert re.fullmatch(r"knouds_live_[A-Za-z0-9]{32,48}", key)


@given(key=strategies.malformed_keys().map(Secret.reveal))
def test_malformed_key_can_be_sent(key):
    """It is printable ASCII, so any HTTP client can put it into a header."""
    assert re.fullmatch(r"[!-~]+", key)
    assert not key.startswith("knouds_live_")


@given(slug=strategies.malformed_slugs())
def test_malformed_slug_has_one_invalid_character(slug):
    """But none that would change the path."""
    assert not re.fullmatch(r"[a-z0-9-]*", slug)
    assert not {"/", ".", "?", "#"} & set(slug)


@given(body=strategies.misshapen_documents())
def test_malformed_document_has_one_malformed_member(body):
    """So a refusal has no other reason."""
    has_name = isinstance(name := body["json"].pop("name"), str) and bool(name.strip())
    assert len(body["json"]) == has_name


@given(value=strategies.garbled_query_values())
def test_garbled_query_value_is_not_a_valid_number(value):
    assert not (re.fullmatch(r"[0-9]+", value, re.ASCII) and 1 <= int(value) <= 500)


@settings(deadline=None)  # the first draw has schemathesis read the document
@given(data=st.data())
def test_valid_create_has_a_name(data):
    call = data.draw(strategies.valid_calls(shipped_document(), "createWorkflow"))

    assert isinstance(call.json["name"], str)
