"""The documents keep up with the code: commands, options, checks, faults, exit codes."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from knouds_harness.commands import cli
from knouds_harness.errors import ExitCode
from knouds_harness.judging.checks import all_checks, families

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


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_is_documented(name):
    """Each command appears with the program's name."""
    assert f"knouds-harness {name}" in TEXT


@pytest.mark.parametrize(("page", "text"), GENERATED.items(), ids=lambda each: getattr(each, "name", ""))
def test_generated_page_is_what_the_code_says(page, text):
    """Options, exit codes, checks and keys; ``nox -s docs`` writes them."""
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("check_id", all_checks())
def test_check_is_documented(check_id):
    """Each check has its line."""
    assert f"| `{check_id}`" in (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", families())
def test_family_is_documented(family):
    """Each family is named where one looks for what to select."""
    assert f"`{family}`" in (ROOT / "docs" / "check.md").read_text(encoding="utf-8")


def test_exit_codes_are_documented():
    """The README says what each means, as the code does."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    assert f"{ExitCode.explained()}." in readme


@pytest.mark.parametrize(
    "page", [*PAGES, *ROOT.glob("docs/decisions/*.md")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_resolve(page):
    """Each relative link leads to a file, and to a heading in it where it names one."""
    links = re.findall(r"\]\(([^):]*?)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))

    for path, heading in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in headings(target), f"{path}#{heading}"


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_tests_that_pages_name_exist():
    """A claim is shown by a test that can be run: ``pytest tests/…``."""
    named = set(re.findall(r"\btests/[\w/]+\.py\b", TEXT))

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_module_help_agrees_with_the_command():
    """``python -m knouds_harness`` is the same program."""
    process = subprocess.run(
        [sys.executable, "-m", "knouds_harness", "--version"], capture_output=True, text=True, check=True
    )

    assert "knouds-harness" in process.stdout
