"""The rule that matches what a key holds with what an operation requires."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.access.capabilities import Asked, require
from knouds_sandbox.envelopes import Refusal
from knouds_sandbox.fault_points import ActiveEdits

CAPABILITIES = (
    "workflow:run",
    "workflow:read",
    "workflow:write",
    "model:run",
    "execution:read",
    "execution:cancel",
    "webhook:receive",
)


def asked(held, required, bound_to):
    return Asked(held=frozenset(held), required=required, operation="", bound_to=bound_to)


def is_admitted(held, required, bound_to=None):
    try:
        require(asked(held, required, bound_to), ActiveEdits())
    except Refusal:
        return False
    return True


@given(held=st.sets(st.sampled_from(CAPABILITIES)), required=st.sampled_from(CAPABILITIES))
def test_capabilities_are_orthogonal(held, required):
    """Without wildcards a key does exactly what it holds."""
    assert is_admitted(held, required) == (required in held)


@pytest.mark.parametrize("required", CAPABILITIES)
@pytest.mark.parametrize("wildcard", ["workflow:*", "model:*", "execution:*", "webhook:*", "*"])
def test_wildcard_stays_in_its_resource(wildcard, required):
    """A resource's wildcard meets that resource, and * everything."""
    assert is_admitted({wildcard}, required) == (wildcard == "*" or required.startswith(wildcard[:-1]))


@pytest.mark.parametrize("name", ["portrait", "portrait-hd", "portrai", "Portrait", "*", ""])
def test_bound_form_is_exact(name):
    """A key bound to one workflow runs no other."""
    assert is_admitted({"workflow:portrait:run"}, "workflow:run", bound_to=name) == (name == "portrait")


@pytest.mark.parametrize("required", [name for name in CAPABILITIES if name != "workflow:run"])
def test_bound_form_only_runs(required):
    """A key bound to a workflow does nothing else."""
    assert not is_admitted({"workflow:portrait:run"}, required, bound_to=None)


@pytest.mark.parametrize("required", ["workflow:run", "model:run"])
def test_denial_names_what_would_have_passed(required):
    """Each alternative in ``required`` is enough."""
    with pytest.raises(Refusal) as denial:
        require(asked((), required, "x"), ActiveEdits())

    assert (denial.value.status, denial.value.code) == (403, "CAPABILITY_DENIED")
    assert all(is_admitted({name}, required, bound_to="x") for name in denial.value.context["required"])


def test_capability_comes_before_resource_and_body(ask, assert_refused):
    """A key without the capability learns nothing about what exists."""
    for slug in ("portrait", "unknown", "stranger-private", "bad_slug"):
        body = assert_refused(ask("POST", f"/api/workflows/{slug}/run", "none"), 403, "CAPABILITY_DENIED")
        assert body["required"] == ["workflow:run", f"workflow:{slug}:run"]
