"""The command line as a user meets it: messages, exit codes and files; no traceback, nothing lost."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from checking import knouds, run_program
from click.testing import CliRunner
from example_targets import free_port
from rendering import render_all

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode
from knouds_harness.suite.discovery.doctor import REQUESTS


def in_a_shell(before, *arguments, after="", cwd):
    """Run a command in a shell that limits something before, or redirects something after it."""
    line = f'{before} exec "$0" -m knouds_harness "$@" {after}'
    return run_program("/bin/sh", "-c", line, sys.executable, *arguments, cwd=cwd, NO_COLOR="1")


def assert_refused(process, code, *words):
    """Assert one message on stderr that names the problem, the exit code, and no traceback."""
    assert process.stderr.startswith("error: ")
    assert [word for word in words if word not in process.stderr] == []
    assert "Traceback" not in process.stderr + process.stdout
    assert process.returncode == code


@pytest.mark.parametrize(
    ("option", "name", "hint"),
    [
        ("--family", "capability", 'Did you mean "capabilities"'),
        ("--fault", "auth-revoked-acceptd", 'Did you mean "auth-revoked-accepted"'),
    ],
)
def test_misspelt_selection_suggests_the_nearest(tmp_path, option, name, hint):
    process = knouds("check", option, name, cwd=tmp_path)

    assert_refused(process, 2, name, hint)
    assert process.stdout == ""


def test_unreachable_target_is_told_once(tmp_path):
    profile = tmp_path / "down.toml"
    profile.write_text(f'base_url = "http://127.0.0.1:{free_port()}"\n')

    process = knouds("check", "--target", str(profile), "--family", "authentication", cwd=tmp_path)

    assert process.returncode == ExitCode.UNREACHABLE
    assert (process.stdout + process.stderr).count("nothing listens") == 1


def test_full_disk_keeps_earlier_exchanges(tmp_path):
    check = ("check", "--family", "authentication", "--runs-folder", "runs")
    process = in_a_shell("ulimit -f 800;", *check, cwd=tmp_path)  # of 512 bytes

    assert "cannot be written" in process.stderr + process.stdout
    assert "Traceback" not in process.stderr + process.stdout
    assert process.returncode == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "exchanges.har").read_text())["log"]["entries"]


@pytest.mark.parametrize("words", [("check",), ("load", "reads", "--users", "2"), ("facts",)])
def test_too_low_limit_of_open_files_is_reported_at_the_start(tmp_path, words):
    assert_refused(in_a_shell("ulimit -n 40;", *words, cwd=tmp_path), 2, "ulimit -n")
    assert list(tmp_path.iterdir()) == []


def test_low_soft_limit_of_open_files_is_raised(tmp_path):
    assert in_a_shell("ulimit -S -n 40;", "facts", "auth.*", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_closed_output_does_not_change_the_exit_code(tmp_path, closed):
    """Cron and some supervisors start commands like this."""
    process = in_a_shell("", "facts", after=closed, cwd=tmp_path)

    assert (process.returncode, process.stderr) == (0, "")


def test_check_whose_output_is_closed_ends_with_a_report(tmp_path):
    """As before ``| head -1``: no traceback, no further request, and a report that says how it ended."""
    options = ("--quick", "--runs-folder", "runs", "--family", "authentication")
    command = (sys.executable, "-m", "knouds_harness", "check", *options, "--fault", "auth-revoked-accepted")
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert first.startswith("checking sandbox (http://127.0.0.1:")
    (folder,) = (tmp_path / "runs").iterdir()
    assert (process.returncode, errors) == (130, "")
    assert (folder / "report.html").is_file()
    assert json.loads((folder / "summary.json").read_text())["outcome"] == "interrupted"


def test_check_with_a_breach_ends_with_1_and_every_report(tmp_path):
    """In a terminal of ASCII alone too, for which other characters are escaped."""
    breach = ("--fault", "auth-revoked-accepted", "--fact", "auth.revoked-key-is-401")
    command = ("check", *breach, "--seed", "7", "--runs-folder", "runs")
    process = in_a_shell("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", *command, cwd=tmp_path)

    (folder,) = (tmp_path / "runs").iterdir()
    names = {file.name for file in folder.iterdir() if not file.match("reproduce-*.sh")}
    data = {"run.json", "findings.jsonl", "created.jsonl", "exchanges.har"}
    reports = {path.name for path in vars(render_all(folder)).values()}
    assert names == data | reports
    assert "auth.revoked-key-is-401" in process.stdout
    assert process.stdout.isascii()
    assert process.returncode == 1


@pytest.mark.nightly
def test_healthy_check_costs_and_sends_what_doctor_predicts(tmp_path):
    """It costs at least 82 % of that, and sends as many requests as the time is estimated by.

    Doctor counts failing runs, which the sandbox does not charge, and in two tests the most expensive
    workflow and model, where cheaper ones may do.
    """
    (words,) = re.findall(r"costs at most ([\d,]+) credits", knouds("doctor", cwd=tmp_path).stdout)
    checked = knouds("check", "--runs-folder", "runs", cwd=tmp_path)

    assert checked.returncode == 0, checked.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    counts = json.loads((folder / "run.json").read_text())["counts"]
    foretold = float(words.replace(",", ""))
    assert 0.82 * foretold <= counts["cost_credits"] <= foretold
    assert counts["exchanges"] == pytest.approx(REQUESTS, rel=0.05)


# -- what commands print, with ``--format json`` as the published schema says

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/commands.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("diagnosis", ["doctor"]), ("facts", ["facts"]), ("faults", ["sandbox", "--list-faults"])],
)
def test_json_matches_its_schema_and_keeps_the_exit_code(name, arguments):
    table = CliRunner().invoke(cli, arguments)
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"])

    printed = json.loads(done.stdout)
    assert printed["format"] == f"knouds-harness {name}"
    VALIDATOR.validate(printed)
    assert done.exit_code == table.exit_code


def test_schema_requires_the_members_of_every_format():
    """A document without its members breaks it."""
    for each in SCHEMA["oneOf"]:
        name = each["$ref"].removeprefix("#/$defs/")
        assert not VALIDATOR.is_valid({"format": f"knouds-harness {name}", "format_version": 1})


def test_json_is_refused_if_nothing_is_listed():
    done = CliRunner().invoke(cli, ["sandbox", "--format", "json"])

    assert "--format needs --list-faults" in f"{done.exception} {done.stderr}"
