"""``--format json`` of every command that has it, checked with the published schema."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner
from run_records import broken, healthy

from knouds_harness.commands.cli import cli

SCHEMA = Path(__file__).parents[2] / "docs" / "commands.schema.json"


@pytest.fixture
def folder(tmp_path):
    healthy(tmp_path / "runs")
    broken(tmp_path / "runs")
    return tmp_path / "runs"


def runs_of(folder):
    return sorted(map(str, folder.iterdir()), key=lambda name: "broken" in Path(name, "run.json").read_text())


def arguments_for(name, folder):
    return {
        "diagnosis": ["doctor"],
        "facts": ["facts"],
        "comparison": ["compare", *runs_of(folder)],
        "faults": ["sandbox", "--list-faults"],
    }[name]


@pytest.mark.parametrize("name", ["diagnosis", "facts", "comparison", "faults"])
def test_json_matches_its_schema_and_keeps_the_exit_code(name, folder):
    arguments = arguments_for(name, folder)
    table = CliRunner().invoke(cli, arguments)
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"])

    printed = json.loads(done.stdout)
    assert printed["format"] == f"knouds-harness {name}"
    jsonschema_rs.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(printed)
    assert done.exit_code == table.exit_code


def test_schema_requires_the_members_of_every_format():
    """A document without its members breaks it."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema)

    for each in schema["oneOf"]:
        name = each["$ref"].removeprefix("#/$defs/")
        assert not validator.is_valid({"format": f"knouds-harness {name}", "format_version": 1})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compare", "--keep", "here", "run"], "--keep, which compares nothing"),
        (["sandbox"], "--format needs --list-faults"),
    ],
)
def test_json_is_refused_if_nothing_is_listed(arguments, says):
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"])

    assert says in f"{done.exception} {done.stderr}"


def test_ids_are_whole_and_each_key_has_a_line():
    """In a pipe, whatever width the environment says."""
    environment = {"COLUMNS": "80"}
    facts = CliRunner().invoke(cli, ["facts"], env=environment).stdout.splitlines()
    doctor = CliRunner().invoke(cli, ["doctor"], env=environment).stdout.splitlines()

    assert any("auth.missing-key-is-401" in line for line in facts)
    assert sum("as the profile says" in line for line in doctor) == 33
    assert not any("untested" in line for line in doctor)
    assert max(map(len, doctor)) > 80
