"""``junit.xml`` of a load run: one test case for the generator, and one for each objective and invariant."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from knouds_harness.reporting.junit_xml import add_outcome, testcase, testsuite, testsuites
from knouds_harness.reporting.load.headline import (
    describe,
    describe_broken,
    load_headline,
    name,
    nothing_measured,
)
from knouds_harness.runs.load_results import Invariant, JudgedObjective, LoadResults
from knouds_harness.runs.record import RunRecord


def load_junit(record: RunRecord, load: LoadResults) -> str:
    """Lay a load run out as JUnit XML."""
    run = testcase("run", "comes to its end")
    if not record.outcome.is_complete:
        title = load_headline(record, load).title
        add_outcome(run, "error", message=title, kind=record.outcome, text=record.note or load.note)
    generator = testcase("generator", "keeps up with what was asked for")
    if not load.validity.is_valid:
        reasons = load.validity.reasons
        add_outcome(
            generator, "error", message=reasons[0], kind="invalid measurement", text="\n".join(reasons)
        )
    measured = testcase("measured", "something was kept of all that was sent")
    if failed := nothing_measured(load):
        add_outcome(measured, "failure", message=": ".join(failed), kind="nothing measured")
    cases_by_suite = {
        "run": [run, generator, measured],
        "objectives": [_objective(each) for each in _told_apart(load.objectives)],
        "invariants": [_invariant(each) for each in load.invariants],
    }
    return testsuites(
        record,
        [
            testsuite(record, suite, cases, time_s=record.duration_s if suite == "run" else 0)
            for suite, cases in cases_by_suite.items()
        ],
    )


def _told_apart(objectives: Sequence[JudgedObjective]) -> list[JudgedObjective]:
    """One for each operation and measure, as readers tell cases by their name: what was missed, if any was.

    A run that ``--abort-on`` ended has missed a bound besides those of its scenario.
    """
    by_name: dict[tuple[str, str], JudgedObjective] = {}
    for each in sorted(objectives, key=lambda each: each.is_met):
        by_name.setdefault((each.operation, each.measure), each)
    return [each for each in objectives if by_name[each.operation, each.measure] is each]


def _objective(objective: JudgedObjective) -> ET.Element:
    case = testcase(f"objective.{objective.operation}", f"{objective.operation} {name(objective.measure)}")
    if not objective.is_met:
        add_outcome(case, "failure", message=describe(objective), kind="objective missed")
    return case


def _invariant(invariant: Invariant) -> ET.Element:
    case = testcase(invariant.fact, invariant.says)
    if invariant.broken:
        add_outcome(case, "failure", message=describe_broken(invariant), kind="breach")
    elif invariant.excused:
        add_outcome(case, "skipped", message=f"assumed only, or waived: {invariant.example}")
    elif not invariant.seen:
        add_outcome(case, "skipped", message=f"untested: it takes {invariant.missing}")
    return case
