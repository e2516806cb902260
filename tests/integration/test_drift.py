"""Drift and ``diff`` as a user meets them: new things are listed, runs and documents compared."""

import copy
import json
from pathlib import Path

import pytest
from checking import check, knouds

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run

QUICK = ("--quick", "--family", "schemas", "--seed", "1")


def run_of(folder, *options):
    exit_code, _ = check(folder, *QUICK, *options)
    (run,) = (folder / "runs").iterdir()
    return exit_code, run


def drift_of(run):
    return {
        (finding.check.partition(".")[2], finding.where)
        for finding in read_run(run).findings
        if finding.verdict is Verdict.ADDITIVE
    }


def diff(old, new):
    return knouds("diff", old, new, cwd=Path.cwd())


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("healthy") / "run")


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """A strict run on a sound sandbox that adds whatever it can."""
    return run_of(tmp_path_factory.mktemp("talkative") / "run", "--variant", "talkative", "--strict")


@pytest.mark.nightly
def test_check_of_the_healthy_sandbox_finds_no_drift(tmp_path):
    exit_code, _ = check(tmp_path / "run", "--seed", "1", "--quick")
    (run,) = (tmp_path / "run" / "runs").iterdir()

    assert exit_code == 0
    assert drift_of(run) == set()
    surface = read_run(run).surface
    assert surface is not None
    assert surface.webhooks.keys() == {*("execution.completed", "execution.failed", "execution.cancelled")}


def test_additions_of_a_talkative_server_are_listed(talkative):
    """Members at every depth, headers, codes; not transport headers or free maps."""
    _, run = talkative

    assert drift_of(run) >= {
        ("header", "header x-request-id"),
        ("member", "/docs"),
        ("member", "/user/addedLater"),
        ("member", "/rows/*/addedLater"),
        ("member", "/nodes/*/addedLater"),
        ("member", "/warnings"),
        ("code", "/code"),
    }
    places = {where for _, where in drift_of(run)}
    assert not {"header cache-control", "header content-type"} & places
    assert not [where for where in places if "/data/" in where or where.startswith("/result")]


def test_drift_does_not_fail_a_strict_run(talkative):
    """Only the one assumption does that this server does not meet."""
    _, run = talkative
    record = read_run(run)

    assert record.setup.strict
    assert {each.fact for each in record.findings if each.fails(strict=True)} <= {"auth.plain-401-code"}
    assert drift_of(run)


@pytest.mark.nightly
def test_runs_with_the_same_seed_have_the_same_surface(healthy, tmp_path):
    _, again = run_of(tmp_path / "run")

    process = diff(healthy[1], again)

    by_chance = "cancelExecution/409"  # whether a cancel comes too late depends on timing
    *changes, _ = process.stdout.splitlines()
    assert [line for line in changes if by_chance not in line] == []


def test_adding_is_additive_and_removing_is_breaking(healthy, talkative):
    there, back = diff(healthy[1], talkative[1]), diff(talkative[1], healthy[1])

    assert there.returncode == 0
    assert "additive  getWhoami/200/user/addedLater: The member is new (object)." in there.stdout
    assert back.returncode == 1
    assert "breaking  getWhoami/200/user/addedLater: The member is gone" in back.stdout


@pytest.mark.nightly
def test_fault_shows_as_a_difference(healthy, tmp_path):
    _, broken = run_of(tmp_path / "run", "--fault", "whoami-tier-as-number")

    process = diff(healthy[1], broken)

    assert process.returncode == 1
    assert "breaking  getWhoami/200/user/tier: The type was string and is now number." in process.stdout


@pytest.mark.parametrize("order", [1, -1])
def test_run_and_document_cannot_be_compared(healthy, tmp_path, order):
    document = tmp_path / "openapi.yaml"
    document.touch()

    process = diff(*[healthy[1], document][::order])

    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1
    assert "give two documents, or the folders of two runs" in process.stderr


def test_run_without_a_surface_is_refused(healthy, tmp_path):
    (tmp_path / "run.json").write_bytes((healthy[1] / "run.json").read_bytes())

    process = diff(healthy[1], tmp_path)

    assert process.returncode == 2
    assert "holds no readable surface.json" in process.stderr


RAW = shipped_document().raw


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


def test_breaking_change_fails_and_comes_first(changed):
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
