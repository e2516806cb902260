"""``junit.xml``, as GitLab, Jenkins and GitHub actions read it.

A fact that was not tested, or that does not hold without failing the run (assumed, or waived), is a skipped
case with the reason. A run that was not completed has a case in error, so that it is never taken for green.
A load run has a case for the generator, and one for each objective and invariant.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final
from xml.etree import ElementTree as ET

from knouds_harness.measures.objectives import describe, short_name
from knouds_harness.printable import printable
from knouds_harness.reporting.check.fact_status import (
    FactCase,
    FactRow,
    FactStatus,
    contradictions_of,
    fact_rows,
)
from knouds_harness.reporting.check.headline import headline
from knouds_harness.reporting.comparison.check_comparison import CheckComparison
from knouds_harness.reporting.load.headline import describe_broken, load_headline, nothing_measured
from knouds_harness.reporting.report import Headline
from knouds_harness.runs.findings import Finding, RunOutcome
from knouds_harness.runs.load_results import Invariant, JudgedObjective, LoadResults, LoadVerdict
from knouds_harness.runs.record import RunRecord

_INVALID: Final = "invalid measurement"


def junit(record: RunRecord, change: CheckComparison | None = None) -> str:
    """Render a run as JUnit XML, with the facts that only its baseline verified."""
    rows = fact_rows(record)
    suites = [
        _run_suite(record, headline(record, rows, change)),
        *_profile_suite(record),
        *_baseline_suite(record, change),
    ]
    for area, rows_of_area in groupby(rows, key=lambda row: row.area):
        suites.append(_area_suite(record, area, rows_of_area))
    return _testsuites(record, suites)


def _run_suite(record: RunRecord, verdict: Headline) -> ET.Element:
    case = _testcase("run", "comes to its end")
    if not record.outcome.is_complete:
        _add_outcome(
            case, "error", message=verdict.title, kind=record.outcome, text=record.note or verdict.detail
        )
    elif record.outcome is RunOutcome.SHORT:
        _add_outcome(case, "failure", message=verdict.title, kind=record.outcome, text=record.note)
    suite = _testsuite(record, "run", [case])
    properties = ET.Element("properties")
    for name, value in (
        ("target", record.setup.target.base_url),
        ("document", f"{record.setup.document.version} {record.setup.document.sha256}"),
        ("seed", str(record.setup.seed)),
        ("verdict", f"{verdict.title}: {verdict.detail}"),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _xml_text(value)})
    suite.insert(0, properties)
    return suite


def _profile_suite(record: RunRecord) -> list[ET.Element]:
    cases = []
    for finding in contradictions_of(record):
        case = _testcase("profile", finding.expected)
        _add_outcome(case, "failure", message=finding.observed, kind=finding.verdict, text=_describe(finding))
        cases.append(case)
    return [_testsuite(record, "profile", cases)] if cases else []


def _baseline_suite(record: RunRecord, change: CheckComparison | None) -> list[ET.Element]:
    if change is None:
        return []
    cases = [_testcase("baseline", "verifies what the baseline verified")]
    for fact, says in zip(change.lost, change.lost_with_reasons, strict=True):
        case = _testcase("baseline", f"{fact} is tested")
        _add_outcome(case, "failure", message=says, kind="not tested any more")
        cases.append(case)
    return [_testsuite(record, "baseline", cases[1:] or cases)]


def _area_suite(record: RunRecord, area: str, rows: Iterable[FactRow]) -> ET.Element:
    cases = []
    for row in rows:
        cases += [_case(record, row, case) for case in row.cases] or [_without_reason(row)]
    return _testsuite(record, area, cases)


def _case(record: RunRecord, row: FactRow, case: FactCase) -> ET.Element:
    element = _testcase(row.fact.id, f"{row.fact.says} [{case.operation or 'any request'}]")
    failing = [finding for finding in case.findings if record.fails(finding)]
    text = "\n\n".join(_describe(finding) for finding in case.findings)
    if failing or (not case.findings and case.status in (FactStatus.BREACH, FactStatus.CONFLICT)):
        first = failing[0] if failing else None
        message = first.difference if first else "seen not to hold"
        _add_outcome(element, "failure", message=message, kind=case.status, text=text)
    elif case.status is FactStatus.WAIVED:
        reasons = dict.fromkeys(finding.waived_by or "" for finding in case.findings)
        _add_outcome(element, "skipped", message=f"waived: {', '.join(reasons)}", text=text)
    elif case.status is FactStatus.ASSUMPTION:
        _add_outcome(element, "skipped", message="an assumption does not hold, which fails no run", text=text)
    elif case.status is FactStatus.UNTESTED:
        _add_outcome(element, "skipped", message=f"not tested: needs {', '.join(case.missing)}")
    return element


def _without_reason(row: FactRow) -> ET.Element:
    element = _testcase(row.fact.id, row.fact.says)
    what = "nothing in this run was about it" if row.is_selected else "not selected"
    _add_outcome(element, "skipped", message=f"not tested: {what}")
    return element


def _describe(finding: Finding) -> str:
    return (
        f"{finding.verdict} {finding.fingerprint}, seen {finding.count} times\n"
        f"{finding.who}\n"
        f"{finding.difference}\n"
        f"{f'trace {finding.trace_id}{chr(10)}' if finding.trace_id else ''}{finding.reproduction}"
    )


def load_junit(record: RunRecord, load: LoadResults) -> str:
    run = _testcase("run", "comes to its end")
    if not record.outcome.is_complete:
        title = load_headline(record, load).title
        _add_outcome(run, "error", message=title, kind=record.outcome, text=record.note or load.note)
    generator = _testcase("generator", "keeps up with what was asked for")
    if not load.validity.is_valid:
        reasons = load.validity.reasons
        tag = "error" if load.verdict is LoadVerdict.INVALID else "skipped"
        _add_outcome(generator, tag, message=reasons[0], kind=_INVALID, text="\n".join(reasons))
    measured = _testcase("measured", "requests of each operation succeeded")
    if failed := nothing_measured(load):
        _add_outcome(measured, "failure", message=": ".join(failed), kind="nothing measured")
    cases_by_suite = {
        "run": [run, generator, measured],
        "objectives": [_objective(each) for each in _one_per_name(load.objectives)],
        "invariants": [_invariant(each) for each in load.invariants],
    }
    return _testsuites(record, [_testsuite(record, suite, cases) for suite, cases in cases_by_suite.items()])


def _one_per_name(objectives: Sequence[JudgedObjective]) -> list[JudgedObjective]:
    """Return one objective for each operation and measure, a missed one if there is any.

    Readers tell cases apart by name, and a run that ``--abort-on`` ended has missed a bound besides the
    objectives of its scenario.
    """
    by_name: dict[tuple[str, str], JudgedObjective] = {}
    for each in sorted(objectives, key=lambda each: each.is_met):
        by_name.setdefault((each.operation, each.measure), each)
    return [each for each in objectives if by_name[each.operation, each.measure] is each]


def _objective(objective: JudgedObjective) -> ET.Element:
    case = _testcase(
        f"objective.{objective.operation}", f"{objective.operation} {short_name(objective.measure)}"
    )
    if not objective.is_met:
        tag, kind = ("error", _INVALID) if objective.doubt else ("failure", "objective missed")
        _add_outcome(case, tag, message=describe(objective), kind=kind)
    return case


def _invariant(invariant: Invariant) -> ET.Element:
    case = _testcase(invariant.fact, invariant.says)
    if invariant.broken:
        _add_outcome(case, "failure", message=describe_broken(invariant), kind="breach")
    elif invariant.excused:
        _add_outcome(case, "skipped", message=f"assumed only, or waived: {invariant.example}")
    elif not invariant.seen:
        _add_outcome(case, "skipped", message=f"untested: needs {invariant.missing}")
    return case


def _testsuites(record: RunRecord, suites: Sequence[ET.Element]) -> str:
    root = ET.Element("testsuites", {"name": "knouds-harness"})
    root.extend(suites)
    for name in ("tests", "failures", "errors"):  # Jenkins's schema knows no "skipped" here, and refuses it
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in suites)))
    root.set("time", f"{record.duration_s:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _testsuite(record: RunRecord, name: str, cases: Sequence[ET.Element]) -> ET.Element:
    """Make a suite; only ``run`` has a time, as one test shows many facts."""
    suite = ET.Element(
        "testsuite",
        {
            "name": name,
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": str(sum(case.find("skipped") is not None for case in cases)),
            "time": f"{record.duration_s if name == 'run' else 0:.3f}",
            "timestamp": f"{record.started_at:%Y-%m-%dT%H:%M:%S}",
        },
    )
    suite.extend(cases)
    return suite


def _testcase(classname: str, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": classname, "name": _xml_text(name), "time": "0"})


def _add_outcome(
    case: ET.Element, tag: str, *, message: str, kind: str | None = None, text: str = ""
) -> None:
    """Record that a case did not pass: ``failure``, ``error`` or ``skipped``.

    Jenkins shows the message of a skipped case, GitLab the text of the element: without a text, the message
    is repeated there.
    """
    element = ET.SubElement(case, tag, {"message": _xml_text(message)})
    if kind:
        element.set("type", kind)
    element.text = _xml_text(text or message)


def _xml_text(text: str) -> str:
    """Return the text without what XML cannot hold, and what a terminal would obey."""
    return printable(text, keep="\n\t")
