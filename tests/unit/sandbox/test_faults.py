"""The list of faults, and what each of them does."""

from collections import Counter
from importlib import resources

import pytest

from knouds_sandbox.errors import UnknownName
from knouds_sandbox.faults import EDITS, FAMILIES, FAULTS, check_faults
from knouds_sandbox.routing.operations import OPERATIONS
from knouds_sandbox.routing.routes import PUBLIC


def test_every_fault_does_something_and_everything_done_is_a_fault():
    """What faults say and what they do stand in two tables with the same ids."""
    assert EDITS.keys() == {fault.id for fault in FAULTS}


@pytest.mark.parametrize("table", ["FAULTS", "EDITS"])
def test_fault_ids_are_unique(table):
    """One id, one fault: no family says or does again what another does."""
    ids = {
        "FAULTS": [fault.id for fault in FAULTS],
        "EDITS": [fault_id for family in FAMILIES for fault_id in family.EDITS],
    }[table]

    assert [fault_id for fault_id, count in Counter(ids).items() if count > 1] == []


def test_server_names_no_fault():
    """The server itself reads as one without faults: their ids stand in their tables alone."""
    package = resources.files("knouds_sandbox")
    sources = {file.name: file.read_text() for file in package.iterdir() if file.name.endswith(".py")}

    assert [
        (name, fault.id) for name, source in sources.items() for fault in FAULTS if fault.id in source
    ] == []


def test_edits_name_operations_that_there_are():
    """A misspelt operation would leave a fault without effect on it."""
    known = {operation.name for operation in OPERATIONS} | PUBLIC.keys()
    edits = [each for edit in EDITS.values() for each in (edit if isinstance(edit, tuple) else (edit,))]

    assert {name for edit in edits for name in edit.operations} <= known


@pytest.mark.parametrize(
    "subject", ["auth", "capability", "envelope", "run", "schema", "whoami", "workflows"]
)
def test_each_area_has_several_faults(subject):
    """At least eight in each of the areas that the checks cover first."""
    assert sum(fault.id.startswith(f"{subject}-") for fault in FAULTS) >= 8


def test_fault_says_what_it_does():
    """A sentence each."""
    assert [fault.id for fault in FAULTS if not fault.says.endswith(".")] == []


def test_a_third_of_the_faults_is_subtle():
    """Faults that show at first glance prove little."""
    assert sum(fault.is_subtle for fault in FAULTS) * 3 >= len(FAULTS)


def test_unknown_fault_is_named_with_its_nearest():
    """A typing error is met with the right name."""
    with pytest.raises(UnknownName, match='Did you mean "auth-revoked-accepted"'):
        check_faults(["auth-revoked-acepted"])
