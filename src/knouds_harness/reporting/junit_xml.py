"""The parts that every ``junit.xml`` is made of."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from knouds_harness.printable import printable
from knouds_harness.runs.record import RunRecord


def testsuites(record: RunRecord, suites: Sequence[ET.Element]) -> str:
    """The whole file as text."""
    root = ET.Element("testsuites", {"name": "knouds-harness"})
    root.extend(suites)
    for name in ("tests", "failures", "errors"):  # Jenkins's schema knows no "skipped" here, and refuses it
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in suites)))
    root.set("time", f"{record.duration_s:.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def testsuite(record: RunRecord, name: str, cases: Sequence[ET.Element], *, time_s: float) -> ET.Element:
    """Cases under one name."""
    suite = ET.Element(
        "testsuite",
        {
            "name": name,
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": str(sum(case.find("skipped") is not None for case in cases)),
            "time": f"{time_s:.3f}",
            "timestamp": f"{record.started_at:%Y-%m-%dT%H:%M:%S}",
        },
    )
    suite.extend(cases)
    return suite


def testcase(classname: str, name: str) -> ET.Element:
    """One case, passed until an outcome is added."""
    return ET.Element("testcase", {"classname": classname, "name": xml_text(name), "time": "0"})


def add_outcome(case: ET.Element, tag: str, *, message: str, kind: str | None = None, text: str = "") -> None:
    """Say that a case did not pass: ``failure``, ``error`` or ``skipped``.

    Jenkins shows the message of what was skipped, GitLab what the element contains: so without another text
    the message is repeated there.
    """
    element = ET.SubElement(case, tag, {"message": xml_text(message)})
    if kind:
        element.set("type", kind)
    element.text = xml_text(text or message)


def xml_text(text: str) -> str:
    """The text without what no XML can hold, and what a terminal that shows the file would obey."""
    return printable(text, keep="\n\t")
