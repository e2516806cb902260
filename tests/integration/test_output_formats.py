"""``--format json`` of every command that has it, checked with the published schema."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner

from knouds_harness.commands.cli import cli

SCHEMA = Path(__file__).parents[2] / "docs" / "commands.schema.json"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("diagnosis", ["doctor"]), ("facts", ["facts"]), ("faults", ["sandbox", "--list-faults"])],
)
def test_json_matches_its_schema_and_keeps_the_exit_code(name, arguments):
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


def test_json_is_refused_if_nothing_is_listed():
    done = CliRunner().invoke(cli, ["sandbox", "--format", "json"])

    assert "--format needs --list-faults" in f"{done.exception} {done.stderr}"


def test_ids_are_whole_and_each_key_has_a_line():
    """In a pipe, whatever width the environment says."""
    environment = {"COLUMNS": "80"}
    facts = CliRunner().invoke(cli, ["facts"], env=environment).stdout.splitlines()
    doctor = CliRunner().invoke(cli, ["doctor"], env=environment).stdout.splitlines()

    assert any("auth.missing-key-is-401" in line for line in facts)
    assert sum("as the profile says" in line for line in doctor) == 33
    assert not any("untested" in line for line in doctor)
    assert max(map(len, doctor)) > 80
