"""Checks, facts and profile fit together: nothing is claimed unsaid, and nothing is needed untold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_targets import make_target
from exchanges import exchange, refusal

from knouds_harness.conformance.checks import all_checks, schemas
from knouds_harness.conformance.doctor import diagnose, missing_by_need
from knouds_harness.conformance.matrix import cells_of
from knouds_harness.contract.document import shipped_document
from knouds_harness.target.personas import Persona, Secret

DOCUMENT = shipped_document()
WHOAMI = {"id": "usr_1", "email": "ada@example.com", "role": "user", "tier": "pro", "approved": True}


def test_shape_check_names_every_fact_of_a_success():
    """The facts that select the shape check are those that the schemas of successes cite."""
    successes = [
        response
        for operation in DOCUMENT.operations
        for response in operation.responses.values()
        if response.status < 400
    ]
    cited = {fact for response in successes for fact in response.facts}
    cited_by_headers = {header.fact for response in successes for header in response.headers.values()}

    assert cited - cited_by_headers == set(schemas.SHAPE_FACTS)


def test_checks_have_unique_ids():
    """An id names one check; a second one would hide the first."""
    ids = [check.id for check in all_checks().values()]

    assert len(ids) == len(set(ids))


def test_missing_resources_are_named_with_the_checks_that_need_them():
    """Doctor says what a bare profile lacks, and what stays untested for want of it."""
    missing = missing_by_need(make_target())

    assert "authentication.revoked-key" in missing['a key with state = "revoked"']
    assert (
        "capabilities.granting-what-was-required"
        in missing["a control plane that mints keys (the sandbox has one)"]
    )


def persona(**changes):
    """A working key of a pro account."""
    key = Persona(
        name="pro",
        secret=Secret("knouds_live_0123456789abcdef", "key:pro"),
        capabilities=frozenset({"workflow:read"}),
        user="pia",
        tier="pro",
    )
    return replace(key, **changes)


KNOWN = exchange(200, {"user": WHOAMI})
UNKNOWN = refusal(401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("key", "whoami", "problems"),
    [
        (persona(), KNOWN, ()),
        (persona(tier="business"), KNOWN, ("tier is 'pro', the profile says 'business'",)),
        (persona(role="admin"), KNOWN, ("role is 'user', the profile says 'admin'",)),
        (persona(), UNKNOWN, ("the key does not work",)),
        (persona(), exchange(None), ("the key does not work",)),
        (persona(state="revoked"), UNKNOWN, ()),
        (persona(state="revoked"), KNOWN, ('state is "revoked", so 401 was expected',)),
    ],
)
def test_key_is_compared_with_whoami(key, whoami, problems):
    """Doctor names each difference between the profile and the target."""
    assert diagnose(key, whoami).problems == problems


@pytest.mark.parametrize(
    ("key", "count"),
    [
        (persona(user="ada"), 13),  # all but runModel, which pro accounts are refused in one of two ways
        (persona(user="ada", tier="business"), 14),
        (persona(user="ada", tier="free"), 0),
        (persona(user="ada", state="revoked"), 0),
        # of another account: what needs no resource of the owner, and what its capability admits
        (persona(), 7),
    ],
)
def test_cells_are_what_the_documents_decide(key, count):
    """The matrix leaves out what is open: keys of lower tiers, and refusals on somebody else's resources."""
    owner = persona(user="ada", name="full", tier="enterprise")

    assert len(cells_of(key, DOCUMENT.operations, owner)) == count
