"""Every documented fact is claimed by a check, and a fault makes that check fail."""

import re
from pathlib import Path

import pytest

from knouds_harness.commands.facts import coverage
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Source
from knouds_sandbox.faults import FAULTS

# Documented, but cannot be shown over HTTP with a key.
NOT_PROVABLE = {
    "ground.additive-change-is-legal": "a permission to the server, of which --legal makes use",
    "ground.body-needs-json-content-type": "asked of clients; what a server does without it is open",
    "auth.keys-begin-with-prefix": "about making keys, which no key can do; checked on the profile's keys",
    "tier.free-has-no-key-access": "about making keys, which no key can do",
    "tier.creator-has-no-key-access": "about making keys, which no key can do",
}
ROWS = coverage(shipped_document().facts)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["fact"])
def test_documented_fact_is_proven(row):
    assert (row["gap"] is None) == (row["fact"] not in NOT_PROVABLE)


def test_every_fault_breaks_a_documented_fact():
    """An assumed one would fail no run."""
    named = {fault for row in ROWS for fault in row["faults"] if row["source"] != Source.ASSUMED}

    assert named == {fault.id for fault in FAULTS}


def test_pages_tell_the_number_of_facts():
    pages = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    told = {
        (page.name, match[0])
        for page in pages
        for match in re.finditer(r"[0-9]+ of ([0-9]+) facts", page.read_text(encoding="utf-8"))
        if int(match[1]) != len(ROWS)
    }

    assert told == set()


def test_pages_tell_the_same_number_for_a_key_that_reads():
    """The tutorial's is that of ``init``; ``test_docs`` runs it."""
    pages = ("docs/targets.md", "docs/tutorial.md")
    told = [re.findall(r"at least [0-9]+ of", (ROOT / each).read_text(encoding="utf-8")) for each in pages]

    assert told[0] == told[1] != []
