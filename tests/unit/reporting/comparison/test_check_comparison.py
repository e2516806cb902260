"""Comparison of two checks, by the fingerprints of their findings."""

from dataclasses import replace

import pytest
from run_records import broken, healthy, interrupted

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.check.fact_status import FactStatus
from knouds_harness.reporting.comparison.check_comparison import check_figures, compare_checks
from knouds_harness.reporting.comparison.texts import headline
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.run_file import MORE_CREDITS

FACT = "run.cost-is-credits"


@pytest.fixture(scope="module")
def sound(record_of):
    return check_figures(record_of(healthy))


@pytest.fixture(scope="module")
def faulty(record_of):
    return check_figures(record_of(broken))


def without(figures, **changes):
    """Return the figures of a run that did not test one fact."""
    return replace(figures, facts={**figures.facts, FACT: FactStatus.UNTESTED}, **changes)


def facts_of(findings):
    return {each.fact for each in findings}


def test_new_breaches_are_regressions(sound, faulty):
    """Waived ones are not, and drift never is: more of it shows if more is sent."""
    comparison = compare_checks(sound, faulty)

    assert FACT in facts_of(comparison.regressions)
    assert facts_of(comparison.new) == {"envelope.plain-401-has-code", "health.shape"}
    assert comparison.exit_code == ExitCode.BREACH


def test_old_breaches_are_still_there(faulty):
    comparison = compare_checks(faulty, faulty)

    assert len(comparison.still) == sum(each.verdict is not Verdict.ADDITIVE for each in faulty.findings)
    assert (comparison.regressions, comparison.gone) == ((), ())
    assert comparison.exit_code == ExitCode.KEPT


def test_finding_is_gone_only_if_its_fact_was_tested_again(sound, faulty):
    narrow = replace(sound, selected=frozenset({"whoami.user-object"}))

    tested, blind = compare_checks(faulty, sound), compare_checks(faulty, without(sound))

    assert FACT in facts_of(tested.gone)
    assert tested.facts[FACT] == (FactStatus.BREACH, FactStatus.VERIFIED)
    assert (facts_of(blind.not_looked_for), blind.lost) == ({FACT}, ())
    assert FACT not in facts_of(blind.gone)
    assert compare_checks(faulty, narrow).gone == ()


def test_lost_fact_fails_the_comparison(sound, faulty):
    """An expired key must not look like a run without findings; what breaks is not lost."""
    comparison = compare_checks(sound, without(sound))

    assert comparison.lost == (FACT,)
    assert comparison.exit_code is ExitCode.BREACH
    assert headline(comparison).title == "Less verified"
    assert FACT not in compare_checks(sound, faulty).lost


A_KEY = {"reasons": {FACT: ("an active key",)}}
MONEY = {"reasons": {FACT: (f"{MORE_CREDITS} the 40 that --credits allows",)}}
RUNS = {"choice": "--family runs"}


@pytest.mark.parametrize(
    ("before", "now", "is_lost"),
    [
        pytest.param({}, {"selected": frozenset({"whoami.user-object"})}, False, id="not selected"),
        pytest.param({}, {"doubt": "It did not come to its end."}, False, id="cut short"),
        pytest.param({}, {"choice": "--operation getWorkflow"}, False, id="tests left out"),
        pytest.param(RUNS, RUNS, True, id="the same tests, as each night"),
        pytest.param({}, {"choice": "--quick"}, False, id="quick"),
        pytest.param({}, {"choice": "--quick", **A_KEY}, True, id="quick, which tests every fact"),
        pytest.param(A_KEY, {"choice": "--quick", **A_KEY}, False, id="what the baseline lacked too"),
        pytest.param({}, {"is_rotating": True, **MONEY}, False, id="another night pays for it"),
        pytest.param({}, {"is_rotating": True, **A_KEY}, True, id="not for a key"),
    ],
)
def test_fact_that_was_verified_before_is_lost(sound, before, now, is_lost):
    """Unless it was left out, or not reached; what lacks more than before is lost all the same."""
    comparison = compare_checks(replace(sound, **before), without(sound, **now))

    assert comparison.lost == ((FACT,) if is_lost else ())


def test_comparison_says_what_does_not_count_as_lost(sound):
    detail = headline(compare_checks(sound, without(sound, **RUNS))).detail

    assert "What --family left out does not count as lost." in detail


def test_selection_is_read_from_the_command(record_of):
    record = record_of(healthy)
    command = ("knouds-harness", "check", "--quick", "--target", "staging", "--fact=a", "--credits", "5")

    figures = check_figures(replace(record, setup=replace(record.setup, command=command)))

    assert figures.choice == "--fact a --quick"


POLLED = "a polled model"
CREDITS = "more credits"
SECOND = "a second key"


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        ((POLLED,), (POLLED, CREDITS), "needs more credits"),
        ((), (SECOND, CREDITS), "needs a second key or more credits"),
        ((POLLED,), (POLLED,), "needs a polled model"),
        ((), (), "nothing was about it"),
    ],
    ids=["not lacking before", "either", "nothing else known", "no reason"],
)
def test_reason_of_a_lost_fact_is_new_since_the_baseline(sound, before, now, says):
    """What the baseline lacked too cannot be the reason."""
    kept, blind = replace(sound, reasons={FACT: before}), without(sound, reasons={FACT: now})

    assert compare_checks(kept, blind).lost_with_reasons == [f"{FACT}: {says}"]


def test_breach_whose_waiver_ended_is_a_regression(faulty):
    [waived] = [each for each in faulty.findings if each.waived_by]
    lapsed = replace(faulty, failing=(*faulty.failing, waived.fingerprint))

    assert facts_of(compare_checks(faulty, lapsed).regressions) == {waived.fact}


def test_interrupted_run_proves_no_repair(record_of, sound):
    cut = check_figures(record_of(interrupted))

    assert compare_checks(cut, sound).exit_code == ExitCode.INVALID_MEASUREMENT
    assert compare_checks(sound, replace(cut, failing=())).exit_code == ExitCode.INVALID_MEASUREMENT
    assert compare_checks(sound, cut).exit_code == ExitCode.BREACH
