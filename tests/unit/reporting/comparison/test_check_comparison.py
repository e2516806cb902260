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


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param({"selected": frozenset({"whoami.user-object"})}, id="not selected"),
        pytest.param({"choice": "--operation getWorkflow"}, id="tests left out"),
        pytest.param({"choice": "--quick"}, id="quick"),
        pytest.param({"doubt": "It did not come to its end."}, id="cut short"),
    ],
)
def test_fact_left_out_or_not_reached_is_not_lost(sound, blind):
    assert compare_checks(sound, without(sound, **blind)).lost == ()


def test_fact_that_another_night_pays_for_is_not_lost(sound):
    """With --rotate it was not its turn; what lacks something else is lost all the same."""
    for reason, lost in ((f"{MORE_CREDITS} the 40 that --credits allows", ()), ("an active key", (FACT,))):
        blind = without(sound, is_rotating=True, reasons={FACT: (reason,)})

        assert compare_checks(sound, blind).lost == lost


def test_selection_loses_facts_only_against_the_same_selection(sound):
    """So a nightly check of one family finds losses; against a whole check it says what does not count."""
    blind = without(sound, choice="--family runs")

    assert compare_checks(replace(sound, choice="--family runs"), blind).lost == (FACT,)
    detail = headline(compare_checks(sound, blind)).detail
    assert "What --family left out does not count as lost." in detail


def test_fact_that_lacks_what_the_baseline_had_is_lost_whatever_was_left_out(sound):
    """--quick tests every fact, so a key that is gone is none of its doing."""
    blind = without(sound, choice="--quick", reasons={FACT: ("an active key",)})

    assert compare_checks(sound, blind).lost == (FACT,)
    assert compare_checks(replace(sound, reasons=blind.reasons), blind).lost == ()


def test_selection_is_read_from_the_command(record_of):
    record = record_of(healthy)
    command = ("knouds-harness", "check", "--quick", "--target", "staging", "--fact=a", "--credits", "5")

    figures = check_figures(replace(record, setup=replace(record.setup, command=command)))

    assert figures.choice == "--fact a --quick"


POLLED = "a polled model"
CREDITS = "more credits"
A_KEY = "a second key"


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        ((POLLED,), (POLLED, CREDITS), "needs more credits"),
        ((), (A_KEY, CREDITS), "needs a second key or more credits"),
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
