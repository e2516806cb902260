"""Which findings fail a run."""

import pytest

from knouds_harness.contract.sources import Fact, Source
from knouds_harness.runs.verdicts import RunOutcome, Verdict, fails_run, verdict_for


@pytest.mark.parametrize(
    ("source", "conflict", "verdict"),
    [
        (Source.OVERVIEW, None, Verdict.BREACH),
        (Source.DOCS, None, Verdict.BREACH),
        (Source.ASSUMED, None, Verdict.ASSUMPTION),
        (Source.OVERVIEW, "docs: the opposite", Verdict.CONFLICT),
    ],
)
def test_verdict_follows_from_who_states_the_fact(source, conflict, verdict):
    assert verdict_for(Fact(id="a.b", says="It is so.", source=source, conflict=conflict)) is verdict


@pytest.mark.parametrize(
    ("verdict", "fails", "fails_strictly"),
    [
        (Verdict.BREACH, True, True),
        (Verdict.CONFLICT, True, True),
        (Verdict.ASSUMPTION, False, True),
        (Verdict.CONTRADICTION, True, True),
        (Verdict.ADDITIVE, False, False),
        (Verdict.UNTESTED, False, False),
    ],
)
def test_only_documented_promises_fail_a_run_unless_it_is_strict(verdict, fails, fails_strictly):
    assert fails_run(verdict, strict=False, is_waived=False) is fails
    assert fails_run(verdict, strict=True, is_waived=False) is fails_strictly


@pytest.mark.parametrize("verdict", Verdict)
def test_waived_finding_fails_nothing(verdict):
    assert not fails_run(verdict, strict=True, is_waived=True)


def test_only_a_run_that_came_to_its_end_is_complete():
    complete = {outcome for outcome in RunOutcome if outcome.is_complete}

    assert complete == {RunOutcome.KEPT, RunOutcome.BROKEN, RunOutcome.SHORT}
