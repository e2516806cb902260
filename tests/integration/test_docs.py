"""The documents keep up with the code: commands, options, checks, faults, exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from knouds_harness.cli import cli
from knouds_harness.conformance.checks import all_checks, families
from knouds_harness.errors import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "reports" / "README.md",
    ROOT / "spec" / "README.md",
    *ROOT.glob("docs/*.md"),
]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("name", cli.commands)
def test_command_is_documented(name):
    """Each command appears with the program's name."""
    assert f"knouds-harness {name}" in TEXT


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (name, option)
        for name, command in cli.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    ],
)
def test_option_is_documented(command, option):
    """Each option of each command appears as code."""
    assert re.search(rf"`[^`\n]*{option}\b[^`\n]*`", TEXT), command


@pytest.mark.parametrize("check_id", all_checks())
def test_check_is_documented(check_id):
    """Each check has its line."""
    assert f"| `{check_id}`" in (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", families())
def test_family_is_documented(family):
    """Each family is named where one looks for what to select."""
    assert f"`{family}`" in (ROOT / "docs" / "check.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", ExitCode)
def test_exit_code_is_documented(code):
    """The README's first pages name each exit code."""
    assert re.search(rf"\b{code.value} \w", (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    """Each relative link leads to a file."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_module_help_agrees_with_the_command():
    """``python -m knouds_harness`` is the same program."""
    process = subprocess.run(
        [sys.executable, "-m", "knouds_harness", "--version"], capture_output=True, text=True, check=True
    )

    assert "knouds-harness" in process.stdout
