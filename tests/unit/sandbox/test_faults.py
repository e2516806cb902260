"""The list of faults, and the lines that it stands for."""

import re
from collections import Counter
from importlib import resources

import pytest

from knouds_harness.errors import UnknownName
from knouds_harness.sandbox.faults import FAULTS, check_faults

USE = re.compile(r'"([a-z0-9-]+)"\s+(?:not\s+)?in\s+(?:[a-z_]+\.)?_?faults\b')


def used_faults():
    package = resources.files("knouds_harness.sandbox")
    sources = [file.read_text() for file in package.iterdir() if file.name.endswith(".py")]
    return {fault_id for source in sources for fault_id in USE.findall(source)}


def test_registered_faults_are_the_used_ones():
    """Every fault has its line, and every such line its fault."""
    assert used_faults() == {fault.id for fault in FAULTS}


def test_fault_ids_are_unique():
    """One id, one fault."""
    assert [fault_id for fault_id, count in Counter(fault.id for fault in FAULTS).items() if count > 1] == []


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
