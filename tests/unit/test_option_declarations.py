"""Options are declared once, and read by a command and by pytest or Locust."""

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from knouds_harness.load.options import LoadOptions
from knouds_harness.locations import objectives_path, usual_objectives
from knouds_harness.option_declarations import (
    Timespan,
    add_runner_options,
    click_options,
    option,
    options_from,
    runner_arguments,
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    count: int = option("Number of things", default=3, type=click.IntRange(1), metavar="N")
    names: tuple[str, ...] = option("Name (repeatable)", flag="--name", default=())
    is_loud: bool = option("Print 100% of it", flag="--loud", default=False, runner_flag="--very-loud")
    folder: Path = option("Folder", default=Path("here"))
    wait_s: float = option("Time to wait", flag="--wait", default=60, type=Timespan(), default_text="1m")
    share: float = option("Share", default=0, type=click.FloatRange(0, 1), bare_value=1.0, metavar="RATIO")
    drawn: int = option("Drawn", default_factory=lambda: 7)
    descriptor: int | None = option("A pipe", in_click=False, is_hidden=True)


def asked_of_click(declared, *arguments):
    """Return what click passes to a command with these options."""
    found = {}

    @click.command()
    @click_options(declared)
    def command(**asked):
        found.update(asked)

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return found


def runner_parser(declared):
    """Make a parser like those of pytest and Locust."""
    parser = ArgumentParser()
    add_runner_options(declared, parser.add_argument)
    return parser


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--count", "5", "--loud"),
        ("--name", "a", "--name", "b"),
        ("--folder", "there", "--wait", "1m30s"),
        ("--share",),
        ("--share", "0"),
        ("--drawn", "0"),
    ],
)
def test_runner_reads_the_options_of_the_command(arguments):
    asked = asked_of_click(Sample, *arguments)

    parsed = runner_parser(Sample).parse_args(runner_arguments(Sample, asked))

    assert options_from(Sample, parsed) == options_from(Sample, asked)


def test_values_have_the_types_of_the_fields():
    arguments = ["--count", "5", "--name", "a", "--very-loud"]
    arguments += ["--folder", "there", "--wait", "1m", "--share", "0.5"]

    found = options_from(Sample, runner_parser(Sample).parse_args(arguments))

    assert found == Sample(count=5, names=("a",), is_loud=True, folder=Path("there"), wait_s=60, share=0.5)


def test_defaults_are_not_passed_on():
    """So that the runner's own defaults apply."""
    assert runner_arguments(Sample, asked_of_click(Sample)) == []


@pytest.mark.parametrize(
    "arguments", [["--count", "0"], ["--wait", "soon"], ["--share", "2"], ["--count", "x"]]
)
def test_runner_refuses_what_the_command_refuses(arguments, capsys):
    """Both use the same check of a value."""
    with pytest.raises(SystemExit):
        runner_parser(Sample).parse_args(arguments)
    with pytest.raises(AssertionError, match="Invalid value"):
        asked_of_click(Sample, *arguments)

    assert f"argument {arguments[0]}: " in capsys.readouterr().err


def test_help_names_the_default():
    text = " ".join(runner_parser(Sample).format_help().split())

    assert "Number of things [default: 3]" in text
    assert "Time to wait [default: 1m]" in text
    assert "Print 100% of it" in text
    assert "--descriptor" not in text


def test_shipped_objectives_apply_to_the_sandbox_only():
    assert usual_objectives("staging") is None
    assert usual_objectives("sandbox") == objectives_path()


@pytest.mark.parametrize(
    ("asked", "file"), [("shipped", objectives_path()), ("mine.toml", Path("mine.toml"))]
)
def test_shipped_objectives_can_be_named(asked, file):
    assert options_from(LoadOptions, {"objectives": asked}).objectives == file
