"""Every recording, changed in each way about which the sources say something, and what checks find."""

from collections import Counter

import pytest
from mutants.mutant import Label
from mutants.survivors import SURVIVORS


def of(verdicts, label):
    return [each for each in verdicts if each.mutant.label is label]


def described(each):
    return f"{each.mutant.name}: {', '.join(sorted(each.broken)) or 'nothing found'}"


def test_there_are_enough_mutants(verdicts):
    """Of each label too."""
    assert len(verdicts) >= 2_000
    assert all(len(of(verdicts, label)) >= 500 for label in Label)


def test_breaches_are_found_with_the_right_fact(verdicts):
    """Except listed ones with a reason, which are less than one in a hundred."""
    breaches = of(verdicts, Label.BREACH)

    missed = [each for each in breaches if not each.is_right]

    assert [described(each) for each in missed if each.mutant.name not in SURVIVORS] == []
    assert len(missed) <= len(breaches) / 100


def test_listed_survivors_survive(verdicts):
    """A breach that is now found must be removed from the list."""
    missed = {each.mutant.name for each in of(verdicts, Label.BREACH) if not each.is_right}

    assert set(SURVIVORS) - missed == set()


@pytest.mark.parametrize("label", [Label.ADDITIVE, Label.EQUIVALENT])
def test_legal_changes_are_not_breaches(verdicts, label):
    """Additions, and other notations of the same."""
    assert [described(each) for each in of(verdicts, label) if not each.is_right] == []


def test_every_recording_is_changed(verdicts):
    changed = Counter(each.mutant.recording_name for each in verdicts)

    assert min(changed.values()) >= 10
