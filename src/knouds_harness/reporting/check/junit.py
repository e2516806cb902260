"""``junit.xml``: one test case for each fact and operation, as GitLab, Jenkins and GitHub actions read it.

A fact that does not hold and yet does not fail the run (assumed, or waived) is a skipped case with the
reason, as is one that was not tested. A run that did not come to its end has a case in error, so that it is
never taken for green.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from xml.etree import ElementTree as ET

from knouds_harness.reporting.check.fact_status import Case, FactRow, FactStatus, contradictions_of, fact_rows
from knouds_harness.reporting.check.families import Place, duration_s_by_place
from knouds_harness.reporting.check.headline import headline
from knouds_harness.reporting.junit_xml import add_outcome, testcase, testsuite, testsuites, xml_text
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import RunOutcome


def junit(record: RunRecord) -> str:
    """Lay a run out as JUnit XML."""
    rows = fact_rows(record)
    spent_s = duration_s_by_place(record)
    suites = [_run_suite(record, rows), *_profile_suite(record)]
    for area, rows_of_area in groupby(rows, key=lambda row: row.area):
        suites.append(_area_suite(record, area, rows_of_area, spent_s))
    return testsuites(record, suites)


def _run_suite(record: RunRecord, rows: tuple[FactRow, ...]) -> ET.Element:
    verdict = headline(record, rows)
    case = testcase("run", "comes to its end")
    if not record.outcome.is_complete:
        add_outcome(
            case, "error", message=verdict.title, kind=record.outcome, text=record.note or verdict.detail
        )
    elif record.outcome is RunOutcome.SHORT:
        add_outcome(case, "failure", message=verdict.title, kind=record.outcome, text=record.note)
    suite = testsuite(record, "run", [case], time_s=record.duration_s)
    properties = ET.Element("properties")
    for name, value in (
        ("target", record.setup.target.base_url),
        ("document", f"{record.setup.document.version} {record.setup.document.sha256}"),
        ("seed", str(record.setup.seed)),
        ("verdict", f"{verdict.title}: {verdict.detail}"),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": xml_text(value)})
    suite.insert(0, properties)
    return suite


def _profile_suite(record: RunRecord) -> list[ET.Element]:
    """The contradictions of the profile, each a failed case; none where there is none."""
    cases = []
    for finding in contradictions_of(record):
        case = testcase("profile", finding.expected)
        add_outcome(case, "failure", message=finding.observed, kind=finding.verdict, text=_describe(finding))
        cases.append(case)
    return [testsuite(record, "profile", cases, time_s=0)] if cases else []


def _area_suite(
    record: RunRecord, area: str, rows: Iterable[FactRow], spent_s: Mapping[Place, float]
) -> ET.Element:
    cases, time_s = [], 0.0
    for row in rows:
        for case in row.cases:
            case_s = spent_s.get((row.fact.id, case.operation), 0.0)
            cases.append(_case(record, row, case, time_s=case_s))
            time_s += case_s
        if not row.cases:
            cases.append(_without_reason(row))
    return testsuite(record, area, cases, time_s=time_s)


def _case(record: RunRecord, row: FactRow, case: Case, *, time_s: float) -> ET.Element:
    name = f"{row.fact.says} [{case.operation or 'any request'}]"
    element = testcase(row.fact.id, name)
    element.set("time", f"{time_s:.3f}")
    failing = [finding for finding in case.findings if record.fails(finding)]
    text = "\n\n".join(_describe(finding) for finding in case.findings)
    if failing or (not case.findings and case.standing in (FactStatus.BREACH, FactStatus.CONFLICT)):
        first = failing[0] if failing else None
        message = f"expected {first.expected}, observed {first.observed}" if first else "seen not to hold"
        add_outcome(element, "failure", message=message, kind=case.standing, text=text)
    elif case.standing is FactStatus.WAIVED:
        reasons = dict.fromkeys(finding.waived_by or "" for finding in case.findings)
        add_outcome(element, "skipped", message=f"waived: {', '.join(reasons)}", text=text)
    elif case.standing is FactStatus.ASSUMPTION:
        add_outcome(element, "skipped", message="an assumption does not hold, which fails no run", text=text)
    elif case.standing is FactStatus.UNTESTED:
        add_outcome(element, "skipped", message=f"not tested: needs {', '.join(case.missing)}")
    return element


def _without_reason(row: FactRow) -> ET.Element:
    element = testcase(row.fact.id, row.fact.says)
    what = "nothing in this run was about it" if row.is_selected else "not selected"
    add_outcome(element, "skipped", message=f"not tested: {what}")
    return element


def _describe(finding: Finding) -> str:
    place = f" at {finding.where}" if finding.where else ""
    return (
        f"{finding.verdict} {finding.fingerprint}, seen {finding.count} times\n"
        f"{finding.who}{place}\n"
        f"expected {finding.expected}\nobserved {finding.observed}\n{finding.reproduction}"
    )
