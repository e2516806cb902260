"""The list of faults."""

from collections import Counter
from importlib import resources
from pathlib import Path

from knouds_harness.judging.checks import families
from knouds_sandbox import faults
from knouds_sandbox.faults import FAULTS
from knouds_sandbox.routing.operations import OPERATIONS
from knouds_sandbox.routing.routes import PUBLIC


def test_fault_ids_are_unique():
    ids = [fault.id for fault in FAULTS]

    assert [fault_id for fault_id, count in Counter(ids).items() if count > 1] == []


def test_server_code_names_no_fault():
    package = resources.files("knouds_sandbox")
    sources = {file.name: file.read_text() for file in package.iterdir() if file.name.endswith(".py")}

    assert [
        (name, fault.id) for name, source in sources.items() for fault in FAULTS if fault.id in source
    ] == []


def test_edits_name_existing_operations():
    """A misspelt operation would have no effect."""
    known = {operation.name for operation in OPERATIONS} | PUBLIC.keys()

    assert {name for fault in FAULTS for edit in fault.edits for name in edit.operations} <= known


def test_every_module_of_faults_is_imported():
    """Faults in another module would not exist."""
    folder = Path(faults.__file__).parent
    written = sum(path.read_text().count("\n@fault(") for path in folder.rglob("*.py"))

    assert written == len(FAULTS)


def test_families_of_faults_are_families_of_checks():
    assert {fault.family for fault in FAULTS} <= set(families())


def test_a_fact_has_at_most_three_faults():
    """The bluntest, one with a condition, one that needs a moment: more show nothing new about checks."""
    counts = Counter(fault.fact for fault in FAULTS)

    assert [fact for fact, count in counts.items() if count > 3] == []


def test_fault_has_a_sentence():
    assert [fault.id for fault in FAULTS if not fault.says.endswith(".")] == []
