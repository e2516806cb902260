"""Every recording, changed in each way about which the sources say something, and what checks find."""

from collections import Counter

import pytest
from mutants.answer_operators import either_of_two, same_notation, statuses, wrong_notation
from mutants.delivery_operators import endings, payloads, signatures
from mutants.execution_operators import executions, usage
from mutants.mutant import Label, Mutant, Operator
from mutants.refusal_operators import causes, denials, envelopes, limits, throttlings
from mutants.shape_operators import shapes
from recorded import document, recordings, story_of

from knouds_harness.runs.findings import fails_run, verdict_for
from knouds_harness.suite.recorded.verification import claims_about

OPERATORS: tuple[Operator, ...] = (
    *(shapes, wrong_notation, same_notation, statuses, either_of_two),
    *(envelopes, causes, denials, throttlings, limits, executions, usage, payloads, endings, signatures),
)


def broken_by(mutant: Mutant) -> set[str]:
    """Return the facts that checks find broken in a mutant, with the rest of its story unchanged."""
    facts = document().facts
    return {
        claim.fact
        for _, claim in claims_about(mutant.recording, story=story_of(mutant.recording))
        if not claim.holds and fails_run(verdict_for(facts[claim.fact]), strict=False, is_waived=False)
    }


@pytest.fixture(scope="module")
def verdicts():
    """Every mutant, and the facts that checks find broken in it."""
    mutants = (each for one in recordings().values() for change in OPERATORS for each in change(one))
    return [(mutant, broken_by(mutant)) for mutant in mutants]


def wrong(verdicts, label):
    """Return the mutants of a label about which checks are wrong, with what they found.

    A breach breaks one of its facts, and another change breaks none.
    """
    return [
        f"{mutant.name}: {', '.join(sorted(broken)) or 'nothing found'}"
        for mutant, broken in verdicts
        if mutant.label is label
        and (broken.isdisjoint(mutant.facts) if label is Label.BREACH else bool(broken))
    ]


def test_there_are_enough_mutants(verdicts):
    """Of each label, and of each recording."""
    labels = Counter(mutant.label for mutant, _ in verdicts)
    changed = Counter(mutant.recording_name for mutant, _ in verdicts)

    assert len(verdicts) >= 2_000
    assert all(labels[label] >= 500 for label in Label)
    assert min(changed.values()) >= 10


def test_breaches_are_found_with_the_right_fact(verdicts):
    assert wrong(verdicts, Label.BREACH) == []


@pytest.mark.parametrize("label", [Label.ADDITIVE, Label.EQUIVALENT])
def test_legal_changes_are_not_breaches(verdicts, label):
    """Additions, and other notations of the same."""
    assert wrong(verdicts, label) == []
