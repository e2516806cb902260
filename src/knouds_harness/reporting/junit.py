"""``junit.xml``: one test case for each fact and operation, as GitLab, Jenkins and GitHub actions read it.

A fact that does not hold and yet does not fail the run (assumed, or waived) is a skipped case with the
reason, as is one that was not tested. A run that did not come to its end has a case in error, so that it is
never taken for green.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree as ET

from knouds_harness.reporting.headline import headline
from knouds_harness.reporting.junit_xml import add_outcome, testcase, testsuite, testsuites, xml_text
from knouds_harness.reporting.standing import Case, FactRow, Standing, fact_rows
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord


def junit(record: RunRecord) -> str:
    """Lay a run out as JUnit XML."""
    rows = fact_rows(record)
    suites = [_run_suite(record, rows)]
    for area, rows_of_area in groupby(rows, key=lambda row: row.area):
        suites.append(_area_suite(record, area, rows_of_area))
    return testsuites(record, suites)


def _run_suite(record: RunRecord, rows: tuple[FactRow, ...]) -> ET.Element:
    verdict = headline(record, rows)
    case = testcase("run", "comes to its end")
    if not record.outcome.is_complete:
        add_outcome(
            case, "error", message=verdict.title, kind=record.outcome, text=record.note or verdict.detail
        )
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


def _area_suite(record: RunRecord, area: str, rows: Iterable[FactRow]) -> ET.Element:
    cases = []
    for row in rows:
        cases += [_case(record, row, case) for case in row.cases] or [_unexercised(row)]
    return testsuite(record, area, cases, time_s=0)


def _case(record: RunRecord, row: FactRow, case: Case) -> ET.Element:
    element = testcase(row.fact.id, f"{row.fact.says} [{case.operation or 'any request'}]")
    failing = [finding for finding in case.findings if record.fails(finding)]
    text = "\n\n".join(_describe(finding) for finding in case.findings)
    if failing or (not case.findings and case.standing in (Standing.BREACH, Standing.CONFLICT)):
        first = failing[0] if failing else None
        message = f"expected {first.expected}, observed {first.observed}" if first else "seen not to hold"
        add_outcome(element, "failure", message=message, kind=case.standing, text=text)
    elif case.standing is Standing.WAIVED:
        reasons = dict.fromkeys(finding.waived_by or "" for finding in case.findings)
        add_outcome(element, "skipped", message=f"waived: {', '.join(reasons)}", text=text)
    elif case.standing is Standing.ASSUMPTION:
        add_outcome(element, "skipped", message="an assumption does not hold, which fails no run", text=text)
    elif case.standing is Standing.UNTESTED:
        add_outcome(element, "skipped", message=f"untested: the profile lacks {', '.join(case.missing)}")
    return element


def _unexercised(row: FactRow) -> ET.Element:
    element = testcase(row.fact.id, row.fact.says)
    add_outcome(element, "skipped", message="not exercised by this run")
    return element


def _describe(finding: Finding) -> str:
    place = f" at {finding.where}" if finding.where else ""
    return (
        f"{finding.verdict} {finding.fingerprint}, seen {finding.count} times\n"
        f"{finding.operation or 'no operation'} as {finding.persona or 'nobody'}{place}\n"
        f"expected {finding.expected}\nobserved {finding.observed}\n{finding.reproduction}"
    )
