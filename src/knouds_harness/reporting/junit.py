"""``junit.xml``, as GitLab, Jenkins and GitHub actions read it.

A fact that was not tested, or that does not hold without failing the run (assumed, or waived), is a skipped
case with the reason. A run that was not completed has a case in error, so that it is never taken for green.
A load run has a case for the generator, and one for each objective and invariant.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple
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


class _Case(NamedTuple):
    """A test case; ``tag`` is ``failure``, ``error`` or ``skipped``, or empty if it passed."""

    classname: str
    name: str
    tag: str = ""
    message: str = ""
    kind: str = ""
    text: str = ""


def junit(record: RunRecord, change: CheckComparison | None = None) -> str:
    """Render a run as JUnit XML, with the facts that only its baseline verified."""
    rows = fact_rows(record)
    verdict = headline(record, rows, change)
    suites = [("run", [_completion(record, verdict, record.note or verdict.detail)])]
    if contradictions := contradictions_of(record):
        cases = [
            _Case("profile", each.expected, "failure", each.observed, each.verdict, _describe(each))
            for each in contradictions
        ]
        suites.append(("profile", cases))
    if change:
        lost = zip(change.lost, change.lost_with_reasons, strict=True)
        kind = "not tested any more"
        cases = [_Case("baseline", f"{fact} is tested", "failure", says, kind) for fact, says in lost]
        suites.append(("baseline", cases or [_Case("baseline", "verifies what the baseline verified")]))
    for area, of_area in groupby(rows, key=lambda row: row.area):
        suites.append((area, [case for row in of_area for case in _cases(record, row)]))
    root = _testsuites(record, suites)
    properties = ET.Element("properties")
    for name, value in (
        ("target", record.setup.target.base_url),
        ("document", f"{record.setup.document.version} {record.setup.document.sha256}"),
        ("seed", str(record.setup.seed)),
        ("verdict", f"{verdict.title}: {verdict.detail}"),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _xml_text(value)})
    root[0].insert(0, properties)
    return _written(root)


def _completion(record: RunRecord, verdict: Headline, text: str) -> _Case:
    case = _Case("run", "comes to its end")
    if record.outcome.is_complete and record.outcome is not RunOutcome.SHORT:
        return case
    tag = "failure" if record.outcome is RunOutcome.SHORT else "error"
    return case._replace(tag=tag, message=verdict.title, kind=record.outcome, text=text)


def _cases(record: RunRecord, row: FactRow) -> Iterator[_Case]:
    """Yield a case for each operation of a fact; if nothing was about it, one that says so."""
    for each in row.cases:
        tag, message = _result(record, each)
        yield _Case(
            classname=row.fact.id,
            name=f"{row.fact.says} [{each.operation or 'any request'}]",
            tag=tag,
            message=message,
            kind=each.status if tag == "failure" else "",
            text="" if each.status is FactStatus.UNTESTED else "\n\n".join(map(_describe, each.findings)),
        )
    if not row.cases:
        what = "nothing in this run was about it" if row.is_selected else "not selected"
        yield _Case(row.fact.id, row.fact.says, "skipped", f"not tested: {what}")


def _result(record: RunRecord, case: FactCase) -> tuple[str, str]:
    failing = [finding for finding in case.findings if record.fails(finding)]
    if failing:
        return "failure", failing[0].difference
    match case.status:
        case FactStatus.BREACH | FactStatus.CONFLICT if not case.findings:
            return "failure", "seen not to hold"
        case FactStatus.WAIVED:
            reasons = dict.fromkeys(finding.waived_by or "" for finding in case.findings)
            return "skipped", f"waived: {', '.join(reasons)}"
        case FactStatus.ASSUMPTION:
            return "skipped", "an assumption does not hold, which fails no run"
        case FactStatus.UNTESTED:
            return "skipped", f"not tested: needs {', '.join(case.missing)}"
    return "", ""


def _describe(finding: Finding) -> str:
    return (
        f"{finding.verdict} {finding.fingerprint}, seen {finding.count} times\n"
        f"{finding.who}\n"
        f"{finding.difference}\n"
        f"{f'trace {finding.trace_id}{chr(10)}' if finding.trace_id else ''}{finding.reproduction}"
    )


def load_junit(record: RunRecord, load: LoadResults) -> str:
    generator = _Case("generator", "keeps up with what was asked for")
    if not load.validity.is_valid:
        reasons = load.validity.reasons
        tag = "error" if load.verdict is LoadVerdict.INVALID else "skipped"
        generator = generator._replace(tag=tag, message=reasons[0], kind=_INVALID, text="\n".join(reasons))
    measured = _Case("measured", "requests of each operation succeeded")
    if failed := nothing_measured(load):
        measured = measured._replace(tag="failure", message=": ".join(failed), kind="nothing measured")
    run = _completion(record, load_headline(record, load), record.note or load.note)
    suites = [
        ("run", [run, generator, measured]),
        ("objectives", [_objective(each) for each in _one_per_name(load.objectives)]),
        ("invariants", [_invariant(each) for each in load.invariants]),
    ]
    return _written(_testsuites(record, suites))


def _one_per_name(objectives: Sequence[JudgedObjective]) -> list[JudgedObjective]:
    """Return one objective for each operation and measure, a missed one if there is any.

    Readers tell cases apart by name, and a run that ``--abort-on`` ended has missed a bound besides the
    objectives of its scenario.
    """
    by_name: dict[tuple[str, str], JudgedObjective] = {}
    for each in sorted(objectives, key=lambda each: each.is_met):
        by_name.setdefault((each.operation, each.measure), each)
    return [each for each in objectives if by_name[each.operation, each.measure] is each]


def _objective(objective: JudgedObjective) -> _Case:
    name = f"{objective.operation} {short_name(objective.measure)}"
    case = _Case(f"objective.{objective.operation}", name)
    if objective.is_met:
        return case
    tag, kind = ("error", _INVALID) if objective.doubt else ("failure", "objective missed")
    return case._replace(tag=tag, message=describe(objective), kind=kind)


def _invariant(invariant: Invariant) -> _Case:
    case = _Case(invariant.fact, invariant.says)
    match invariant.state:
        case "broken":
            return case._replace(tag="failure", message=describe_broken(invariant), kind="breach")
        case "excused":
            return case._replace(tag="skipped", message=f"assumed only, or waived: {invariant.example}")
        case "untested":
            return case._replace(tag="skipped", message=f"untested: needs {invariant.missing}")
    return case


def _testsuites(record: RunRecord, suites: Iterable[tuple[str, Sequence[_Case]]]) -> ET.Element:
    root = ET.Element("testsuites", {"name": "knouds-harness"})
    root.extend(_testsuite(record, name, cases) for name, cases in suites)
    for name in ("tests", "failures", "errors"):  # Jenkins's schema knows no "skipped" here, and refuses it
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
    root.set("time", f"{record.duration_s:.3f}")
    return root


def _testsuite(record: RunRecord, name: str, cases: Sequence[_Case]) -> ET.Element:
    """Make a suite; only ``run`` has a time, as one test shows many facts."""
    tags = Counter(each.tag for each in cases)
    suite = ET.Element(
        "testsuite",
        {
            "name": name,
            "tests": str(len(cases)),
            "failures": str(tags["failure"]),
            "errors": str(tags["error"]),
            "skipped": str(tags["skipped"]),
            "time": f"{record.duration_s if name == 'run' else 0:.3f}",
            "timestamp": f"{record.started_at:%Y-%m-%dT%H:%M:%S}",
        },
    )
    for each in cases:
        about = {"classname": each.classname, "name": _xml_text(each.name), "time": "0"}
        case = ET.SubElement(suite, "testcase", about)
        if each.tag:
            result = ET.SubElement(case, each.tag, {"message": _xml_text(each.message)})
            if each.kind:
                result.set("type", each.kind)
            # Jenkins shows the message of a skipped case, GitLab the text.
            result.text = _xml_text(each.text or each.message)
    return suite


def _written(root: ET.Element) -> str:
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    """Return the text without what XML cannot hold, and what a terminal would obey."""
    return printable(text, keep="\n\t")
