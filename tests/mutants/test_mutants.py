"""Every recording, changed in each way about which the sources say something, and what checks find."""

from collections import Counter

import pytest
from mutants.mutant import Label


def of(verdicts, label):
    return [each for each in verdicts if each.mutant.label is label]


def wrong(verdicts, label):
    """Return the mutants of a label about which checks are wrong, with what they found."""
    return [
        f"{each.mutant.name}: {', '.join(sorted(each.broken)) or 'nothing found'}"
        for each in of(verdicts, label)
        if not each.is_right
    ]


def test_there_are_enough_mutants(verdicts):
    """Of each label, and of each recording."""
    changed = Counter(each.mutant.recording_name for each in verdicts)

    assert len(verdicts) >= 2_000
    assert all(len(of(verdicts, label)) >= 500 for label in Label)
    assert min(changed.values()) >= 10


def test_breaches_are_found_with_the_right_fact(verdicts):
    assert wrong(verdicts, Label.BREACH) == []


@pytest.mark.parametrize("label", [Label.ADDITIVE, Label.EQUIVALENT])
def test_legal_changes_are_not_breaches(verdicts, label):
    """Additions, and other notations of the same."""
    assert wrong(verdicts, label) == []
