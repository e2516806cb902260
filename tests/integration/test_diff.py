"""``knouds-harness diff`` as a user meets it: lines, counts, exit codes."""

import copy
import json
from pathlib import Path

import pytest
from checking import knouds

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path

RAW = shipped_document().raw


def diff(old, new):
    return knouds("diff", old, new, cwd=Path.cwd())


@pytest.fixture
def changed(tmp_path):
    def write(change):
        raw = copy.deepcopy(RAW)
        change(raw)
        path = tmp_path / "new.yaml"
        path.write_text(json.dumps(raw), encoding="utf-8")
        return path

    return write


def test_same_document_has_no_difference():
    process = diff(document_path(), document_path())

    assert (process.returncode, process.stdout) == (0, "0 breaking, 0 additive.\n")


def test_additive_change_passes(changed):
    new = changed(lambda raw: raw["paths"]["/api/whoami"]["get"]["x-errors"].append("FORBIDDEN"))

    process = diff(document_path(), new)

    assert process.returncode == 0
    assert process.stdout == (
        "additive  getWhoami/x-errors: The error code FORBIDDEN is new.\n0 breaking, 1 additive.\n"
    )


def test_breaking_change_fails_and_stands_first(changed):
    def change(raw):
        raw["paths"]["/api/whoami"]["get"]["x-errors"].append("FORBIDDEN")
        del raw["paths"]["/api/health"]

    process = diff(document_path(), changed(change))

    assert process.returncode == 1
    assert process.stdout.splitlines() == [
        "breaking  getHealth: GET /api/health is gone.",
        "additive  getWhoami/x-errors: The error code FORBIDDEN is new.",
        "1 breaking, 1 additive.",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("x-facts"), "new.yaml: /: x-facts is missing."),
        (lambda raw: raw["components"]["schemas"]["Slug"].update(type="text"), "Slug/type: no JSON Schema"),
        (lambda raw: raw["servers"][0].pop("url"), "/servers/0: url is missing."),
    ],
    ids=["contract", "schema", "server"],
)
def test_broken_document_is_refused(changed, change, message):
    process = diff(document_path(), changed(change))

    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert message in process.stderr
    assert "Traceback" not in process.stderr
