"""Text of a hostile server stays text: nothing in a report is obeyed by what reads it."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from load_records import load_results, operation
from loaded_runs import loaded
from rendering import Page, printed, render_all
from run_records import add_finding, exchange, start

from knouds_harness.reporting.render import add_to_step_summary, annotations_of, workflow_command
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import Invariant
from knouds_harness.runs.operation_load import ErrorCount
from knouds_harness.runs.record import read_run

HOSTILE = (
    "[bold]rich[/bold]\x1b[31mred\x1b]0;title\x07\n::add-mask::x\n##[error]y\r"
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}<!-- |`[a](b:c)\u202e"
)


def hostile_check(root):
    shown = exchange(
        1,
        "getWhoami",
        body={"user": {"role": HOSTILE, HOSTILE: HOSTILE}, "code": HOSTILE, "error": HOSTILE},
        headers=(("x-odd", HOSTILE.encode("utf-8", "replace").decode("latin-1").replace("\n", " ")),),
    )
    with start(root) as writer:
        add_finding(writer, shown, "whoami.role-closed", observed=HOSTILE, where=f"/user/{HOSTILE}")
        writer.finish("broken", 1, note=HOSTILE)
        return writer.folder


def hostile_load(root):
    """Make a load run on such a server; like an older one, its record was not sanitized."""
    folder = loaded(root, seconds=3)
    error = ErrorCount(status="wrong", status_code=200, code=HOSTILE, count=3, exchanges=())
    invariant = Invariant(
        fact="whoami.role-closed", says="The role is one of two.", seen=3, broken=3, example=HOSTILE
    )
    results = load_results(
        operations=(replace(operation(HOSTILE), errors=(error,)),), invariants=(invariant,), note=HOSTILE
    )
    with LoadWriter(folder) as writer:
        writer.write(results)
    return folder


@pytest.fixture(params=[hostile_check, hostile_load], ids=["check", "load"])
def folder(request, tmp_path):
    return request.param(tmp_path)


def obeyed(text: str) -> list[str]:
    return [
        line
        for line in text.split("\n")
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", line)
        or line.lstrip().startswith("::")
        or "##[" in line
    ]


def test_terminal_obeys_nothing(folder):
    text = printed(folder, width=100)

    assert "add-mask" in text
    assert "[bold]rich[/bold]" in text
    assert obeyed(text) == []


def test_markdown_and_step_summary_have_no_markup_of_the_server(folder, tmp_path):
    paths, page = render_all(folder), tmp_path / "summary.md"
    add_to_step_summary(paths.markdown, {"GITHUB_STEP_SUMMARY": str(page)})

    for path in (paths.markdown, page):
        text = path.read_text(encoding="utf-8")
        assert "add-mask" in text
        assert obeyed(text) == []
        outside = re.sub(r"(?s)(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text.replace(r"\`", ""))
        assert "<script" not in outside
        assert "[a](" not in outside


def test_junit_is_valid_xml_and_obeyed_by_nothing(folder):
    text = render_all(folder).junit.read_text(encoding="utf-8")

    assert ET.fromstring(text) is not None  # noqa: S314 - our own
    assert obeyed(text) == []


def test_html_runs_no_script_of_the_server(folder):
    """Its scripts are the report's own, and the server's elements are text."""
    text = render_all(folder).html.read_text(encoding="utf-8")
    page = Page(text)

    assert len(page.all("script")) in (1, 5)  # of a check, and of load with its charts
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "<img src=x onerror=alert(1)>{{ 7*7 }}" in page.text
    assert "<script>alert" not in text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", text)


def test_annotations_are_one_command_each(folder):
    """Text of the server cannot end a command or begin another."""
    lines = list(map(workflow_command, annotations_of(read_run(folder))))

    assert all(line.startswith(("::error ", "::warning ")) and "\n" not in line for line in lines)
