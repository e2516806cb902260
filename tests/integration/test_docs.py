"""The documents keep up with the code: commands, options, checks, faults, exit codes."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knouds_harness.commands import cli
from knouds_harness.errors import ExitCode
from knouds_harness.judging.checks import families

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "reports" / "README.md",
    ROOT / "spec" / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "docs" / "ci" / "README.md",
    *ROOT.glob("docs/*.md"),
]
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
GUIDES = [page for page in PAGES if page.name not in {"options.md", "checks.md"}]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in GUIDES)


def test_every_command_is_documented():
    assert [name for name in cli.COMMANDS if f"knouds-harness {name}" not in TEXT] == []


@pytest.mark.parametrize(("page", "text"), GENERATED.items(), ids=lambda each: getattr(each, "name", ""))
def test_generated_page_is_what_the_code_says(page, text):
    """Options, exit codes, checks and keys; ``nox -s docs`` writes them."""
    assert page.read_text(encoding="utf-8") == text


def test_every_family_of_checks_is_documented_where_one_looks_for_what_to_select():
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")

    assert [family for family in families() if f"`{family}`" not in page] == []


def test_readme_says_what_each_exit_code_means():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    assert f"{ExitCode.explained()}." in readme


def test_every_relative_link_leads_to_a_file_and_a_heading_in_it():
    assert [
        broken for page in [*PAGES, *ROOT.glob("docs/decisions/*.md")] for broken in broken_links(page)
    ] == []


def broken_links(page: Path) -> Iterator[str]:
    links = re.findall(r"\]\(([^):]*?)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for path, heading in links:
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            yield f"{page.relative_to(ROOT)}: {path}#{heading}"


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_tests_that_pages_name_exist():
    """A claim is shown by a test that can be run: ``pytest tests/…``."""
    named = set(re.findall(r"\btests/[\w/]+\.py\b", TEXT))

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_module_runs_as_the_command_does():
    process = subprocess.run(
        [sys.executable, "-m", "knouds_harness", "--version"], capture_output=True, text=True, check=True
    )

    assert "knouds-harness" in process.stdout
