"""What the pages show can be typed: each command exists and takes its options, and the quick ones run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from checking import knouds

from knouds_harness.commands.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "reports" / "README.md",
    ROOT / "spec" / "README.md",
    ROOT / "benchmarks" / "README.md",
    *ROOT.glob("docs/**/*.md"),
]


def shown_commands() -> dict[str, list[str]]:
    """The words after the program's name of each command that a page shows, by the line itself."""
    commands: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace(" \\\n", " ")
        blocks = "\n".join(re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL))
        in_blocks = re.findall(r"^\$ (?:.*/)?knouds-harness (.*)", blocks, re.MULTILINE)
        inline = re.findall(r"`knouds-harness ([a-z][^`\n]*)`", text)
        commands |= {line: shlex.split(line, comments=True) for line in [*in_blocks, *inline]}
    return commands


SHOWN = shown_commands()
QUICK = [
    line
    for line, words in SHOWN.items()
    if {"facts", "--list-faults", "--plan-only", "--outcome"} & {*words}
    and not {"--target", "--run", "--checks", "--inputs"} & {*words}
]
PLAIN_TYPES = (type(click.INT), type(click.FLOAT), click.Choice)


@pytest.mark.parametrize("line", SHOWN)
def test_shown_command_is_understood(line):
    """There is such a command, and it takes each option that is shown, with such a value."""
    name, *words = [word for word in SHOWN[line] if word != "--debug"]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    context = click.Context(command, info_name=name)

    values, _, _ = command.make_parser(context).parse_args(words)

    for parameter in command.params:
        value = values.get(str(parameter.name))
        if isinstance(parameter.type, PLAIN_TYPES) and isinstance(value, str) and not value.isupper():
            parameter.type(value, parameter, context)


@pytest.mark.parametrize("line", QUICK)
def test_shown_command_runs(line, tmp_path):
    process = knouds(*SHOWN[line], cwd=tmp_path)

    assert process.returncode == 0, process.stderr
