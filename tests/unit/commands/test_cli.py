"""The group of commands, which imports only the command that runs."""

import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from knouds_harness import commands
from knouds_harness.commands.cli import COMMANDS, FIRST_COMMANDS, REMOVED, cli, command_named
from knouds_harness.errors import ExitCode, UnknownName, UsageError

HEAVY = [
    *("gevent", "httpx", "hypothesis", "jinja2", "locust", "prometheus_client", "pydantic", "pytest", "rich"),
    *("schemathesis", "starlette", "uvicorn", "yaml"),
]


def python(*arguments, output=subprocess.PIPE, **more):
    """Run a Python process."""
    options = {"stdout": output, "stderr": subprocess.PIPE, "text": True, "timeout": 60}
    return subprocess.run([sys.executable, *arguments], check=False, **options, **more)


def imported_by(code):
    """Return the modules that a Python has imported after this code, whatever ended it."""
    done = python("-c", f"import sys\ntry:\n    {code}\nfinally: print(*sys.modules, file=sys.stderr)")
    assert done.returncode == 0
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_start_imports_no_command(option):
    imported = imported_by(
        f"sys.argv = ['knouds-harness', {option!r}]; from knouds_harness.commands.cli import main; main()"
    )

    assert imported.isdisjoint(HEAVY)
    assert {name for name in imported if name.startswith("knouds_harness.")} == {
        *("knouds_harness.commands", "knouds_harness.commands.cli"),
        *("knouds_harness.errors", "knouds_harness.files"),
        *("knouds_harness.interrupts", "knouds_harness.printable"),
    }


@pytest.mark.parametrize(
    ("code", "others"),
    [
        (
            "from knouds_harness.commands import cli; [cli.command_named(name) for name in cli.COMMANDS]",
            HEAVY,
        ),
        (
            "from knouds_harness.suite.discovery import doctor, run_plan",
            ["gevent", "jinja2", "locust", "schemathesis", "starlette", "uvicorn"],
        ),
    ],
    ids=["help of commands", "facts and doctor"],
)
def test_what_is_asked_often_imports_nothing_heavy(code, others):
    """So that it appears at once."""
    assert imported_by(code).isdisjoint(others)


def test_help_lists_the_most_used_commands_first():
    printed = CliRunner().invoke(cli, ["--help"]).output

    first, more = printed.partition("Commands:")[2].split("More:")
    assert re.findall(r"(?m)^  (\w+)", first) == list(FIRST_COMMANDS)
    assert {*re.findall(r"(?m)^  (\w+)  ", more)} == COMMANDS.keys() - FIRST_COMMANDS
    assert ExitCode.explained() in " ".join(printed.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_listed_help_is_that_of_the_command(name):
    first = (command_named(name).help or "").partition("\n\n")[0]

    assert " ".join(first.split()) == COMMANDS[name]


def test_every_command_is_listed():
    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    modules = [import_module(f"{commands.__name__}.{name}") for name in names]

    objects = [each for module in modules for each in vars(module).values()]
    defined = {each.name for each in objects if isinstance(each, click.Command) and each is not cli}
    assert defined == COMMANDS.keys() - {"sandbox"}


@pytest.mark.parametrize("name", REMOVED)
@pytest.mark.parametrize("value", [["x"], []])
def test_what_was_removed_is_told_with_what_replaces_it(name, value):
    command, *option = name.split()
    argument = ["x"] if command in ("load", "report") else []

    done = CliRunner().invoke(cli, [command, *argument, *option, *value])

    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
    assert str(done.exception) == f"{name} was removed in 0.3.0: {REMOVED[name]}"
    assert name not in COMMANDS


def test_unknown_command_is_refused():
    done = CliRunner().invoke(cli, ["chek"])

    assert isinstance(done.exception, UnknownName)
    assert str(done.exception).endswith('Did you mean "check"?')


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_of_80_columns(name):
    shown = CliRunner().invoke(cli, [name, "--help"], terminal_width=80).output

    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_each_option_does(name):
    """An option's help is one sentence that begins with a capital and has no full stop."""
    says = {
        each.opts[0]: each.help or "" for each in command_named(name).params if isinstance(each, click.Option)
    }

    assert {flag: text for flag, text in says.items() if not text or text.endswith(".")} == {}


def test_help_of_load_shows_each_option_once_in_a_group():
    """A single list of forty options would be unreadable."""
    done = CliRunner().invoke(cli, ["load", "--help"])

    listed = re.findall(r"^  (?:-h, )?(--[\w-]+)", done.output, re.MULTILINE)
    flags = [each.opts[0] for each in command_named("load").params if isinstance(each, click.Option)]
    assert sorted(listed) == sorted([*flags, "--help"])
    assert re.findall(r"^(\w[\w ]+):$", done.output, re.MULTILINE) == [
        "Load", "Target and limits", "Verdict", "Highest rate", "Output"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [("sandbox", "--list-faults"), ("facts",), ("facts", "--format", "json")]
)
def test_closed_output_ends_the_command_quietly(arguments, tmp_path):
    """As before ``| head -1``: it prints nothing, and its exit code does not mean a breach."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as unread:
        done = python("-m", "knouds_harness", *arguments, output=unread, cwd=tmp_path)

    assert done.stderr == ""
    assert done.returncode in {ExitCode.KEPT, ExitCode.INTERRUPTED}


INTERRUPTED_IN_A_CALLBACK: Final = """
import gc
import signal

from knouds_harness.commands import cli

def interrupt(*_):
    gc.callbacks.remove(interrupt)
    raise KeyboardInterrupt

def collect(**_):
    gc.callbacks.append(interrupt)
    gc.collect()
    signal.pause()

cli.cli.main = collect
cli.main()
"""


@pytest.mark.parametrize("before", ["", "trap '' INT; "], ids=["in-front", "in-the-background"])
def test_ctrl_c_that_python_ignores_ends_the_command(before):
    """During a garbage collection, Ctrl-C is raised in a callback of Hypothesis, where Python drops it."""
    command = ["sh", "-c", f'{before}exec "$@"', "sh", sys.executable, "-c", INTERRUPTED_IN_A_CALLBACK]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "interrupted\n")


@pytest.mark.parametrize("arguments", [("facts",), ("--help",)])
def test_output_to_a_full_device_is_an_error(arguments, tmp_path):
    """Nothing else is lost, but that it was lost is no success."""
    with Path("/dev/full").open("w") as full:
        done = python("-m", "knouds_harness", *arguments, output=full, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")


RAISING: Final = """
import sys
from knouds_harness.commands import cli
from knouds_harness.exchange import redaction

def fail(**_):
    raise {}

sys.argv = ["knouds-harness", {!r}]
cli.cli.main = fail
cli.main()
"""


@pytest.mark.parametrize(("command", "is_told"), [("check", True), ("sandbox", False)])
def test_target_without_its_option_is_told(command, is_told):
    done = python("-m", "knouds_harness", command, "staging")

    assert done.returncode == ExitCode.USAGE
    assert ("A target is named with --target." in done.stderr) == is_told


@pytest.mark.parametrize("option", ["--debug", "facts"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("MemoryError", "error: knouds-harness failed: MemoryError\n"),
        ("ValueError('\x1b[2J ##[error] knouds_live_0123456789abcdef')", "·[2J #·[error] {{key:unknown}}\n"),
        ("OSError(36, 'File name too long', 'x' * 300)", f"error: {'x' * 300}: File name too long\n"),
    ],
)
def test_unexpected_error_does_not_end_like_a_breach(error, says, option):
    """One line and exit code 2; a traceback only with --debug, and no secrets."""
    done = python("-c", RAISING.format(error, option))

    assert done.returncode == ExitCode.USAGE
    assert says in done.stderr
    assert ("Traceback" in done.stderr) == (option == "--debug")
    assert "knouds_live_" not in done.stderr
    assert "\x1b" not in done.stderr


def test_unreadable_certificates_are_a_usage_error(tmp_path):
    profile = tmp_path / "here.toml"
    profile.write_text(
        'base_url = "https://127.0.0.1:1"\n[keys.full]\nsecret_env = "KEY_HERE"\n'
        'user = "ada"\ntier = "pro"\ncapabilities = ["*"]\n'
    )
    done = python(
        *("-m", "knouds_harness", "doctor", "--target", str(profile)),
        env={**os.environ, "SSL_CERT_FILE": "/nowhere", "KEY_HERE": "knouds_live_0123456789abcdef"},
    )

    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: SSL_CERT_FILE=/nowhere")
