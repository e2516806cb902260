"""Every recording, changed in each way that the sources say something about, and what checks make of it."""

from collections import Counter

import pytest
from mutants.mutant import Label
from mutants.survivors import SURVIVORS


def of(verdicts, label):
    return [each for each in verdicts if each.mutant.label is label]


def described(each):
    return f"{each.mutant.name}: {', '.join(sorted(each.broken)) or 'nothing found'}"


def test_there_are_enough(verdicts):
    """Of each label, so that no side is proven by a handful."""
    assert len(verdicts) >= 2_000
    assert all(len(of(verdicts, label)) >= 500 for label in Label)


def test_breaches_are_found_with_the_right_fact(verdicts):
    """All but those that are listed, with their reason; those are less than one in a hundred."""
    breaches = of(verdicts, Label.BREACH)

    missed = [each for each in breaches if not each.is_right]

    assert [described(each) for each in missed if each.mutant.name not in SURVIVORS] == []
    assert len(missed) <= len(breaches) / 100


def test_listed_survivors_survive(verdicts):
    """What is found meanwhile is taken off the list."""
    missed = {each.mutant.name for each in of(verdicts, Label.BREACH) if not each.is_right}

    assert set(SURVIVORS) - missed == set()


@pytest.mark.parametrize("label", [Label.ADDITIVE, Label.EQUIVALENT])
def test_what_is_legal_is_no_breach(verdicts, label):
    """What is new, and what is the same in other words."""
    assert [described(each) for each in of(verdicts, label) if not each.is_right] == []


def test_every_recording_is_changed(verdicts):
    changed = Counter(each.mutant.recording_name for each in verdicts)

    assert min(changed.values()) >= 10
