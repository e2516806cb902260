"""Two conformance runs, by the fingerprints of their findings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_records import broken, healthy, interrupted

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.comparison.check_comparison import compare_checks
from knouds_harness.reporting.comparison.check_figures import check_figures
from knouds_harness.reporting.standing import Standing
from knouds_harness.runs.record import read_run


@pytest.fixture
def sound(tmp_path):
    return check_figures(read_run(healthy(tmp_path / "sound")))


@pytest.fixture
def faulty(tmp_path):
    return check_figures(read_run(broken(tmp_path / "faulty")))


def facts_of(findings):
    return {each.fact for each in findings}


def test_new_breaches_are_regressions(sound, faulty):
    """What fails the run now and did not before ends with exit code 1; drift and waived ones do not."""
    comparison = compare_checks(sound, faulty)

    assert "run.cost-is-credits" in facts_of(comparison.regressions)
    assert facts_of(comparison.new) == {"envelope.plain-401-has-code", "whoami.user-object", "health.shape"}
    assert comparison.exit_code == ExitCode.BREACH


def test_old_breaches_are_still_there(faulty):
    """A run that is as broken as the one before is no regression."""
    comparison = compare_checks(faulty, faulty)

    assert len(comparison.still) == len(faulty.findings)
    assert (comparison.regressions, comparison.gone) == ((), ())
    assert comparison.exit_code == ExitCode.KEPT


def test_finding_is_gone_where_its_fact_was_tested(sound, faulty):
    """A repaired server shows so, fact by fact."""
    comparison = compare_checks(faulty, sound)

    changed = {each.fact: (each.before, each.now) for each in comparison.facts}
    assert "run.cost-is-credits" in facts_of(comparison.gone)
    assert changed["run.cost-is-credits"] == (Standing.BREACH, Standing.VERIFIED)


def test_finding_is_not_gone_where_nobody_looked(sound, faulty):
    """A run that left a fact out proves nothing of it, and says so."""
    blind = replace(sound, facts={**sound.facts, "run.cost-is-credits": Standing.UNEXERCISED})

    comparison = compare_checks(faulty, blind)

    assert facts_of(comparison.not_looked_for) == {"run.cost-is-credits"}
    assert "run.cost-is-credits" not in facts_of(comparison.gone)
    assert "1 facts were tested before and are not now: run.cost-is-credits." in comparison.notes


def test_waiver_that_ends_is_a_regression(faulty):
    """A finding that was accepted before and fails the run now counts as new."""
    [waived] = [each for each in faulty.findings if each.waived_by]
    lapsed = replace(faulty, failing=(*faulty.failing, waived.fingerprint))

    assert facts_of(compare_checks(faulty, lapsed).regressions) == {waived.fact}


def test_run_that_was_cut_short_proves_no_repair(tmp_path, sound):
    """Exit code 5, unless it found something new."""
    cut = check_figures(read_run(interrupted(tmp_path / "cut")))

    assert compare_checks(cut, sound).exit_code == ExitCode.INVALID_MEASUREMENT
    assert compare_checks(sound, replace(cut, failing=())).exit_code == ExitCode.INVALID_MEASUREMENT
    assert compare_checks(sound, cut).exit_code == ExitCode.BREACH
