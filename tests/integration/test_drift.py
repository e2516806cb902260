"""Drift as a user meets it: new things are listed."""

import pytest
from checking import check

from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run

LEGAL = "own,extra=members,codes=others"
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


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """A strict run on a sandbox that adds whatever it can."""
    return run_of(tmp_path_factory.mktemp("talkative") / "run", "--legal", LEGAL, "--strict")


@pytest.mark.nightly
def test_check_of_the_healthy_sandbox_finds_no_drift(tmp_path):
    exit_code, _ = check(tmp_path / "run", "--seed", "1", "--quick")
    (run,) = (tmp_path / "run" / "runs").iterdir()

    assert exit_code == 0
    assert drift_of(run) == set()


def test_additions_of_a_talkative_server_are_listed(talkative):
    """Members at every depth, headers, codes; not transport headers or free maps."""
    _, run = talkative

    assert drift_of(run) >= {
        ("header", "header x-request-id"),
        ("member", "/user/addedLater"),
        ("member", "/rows/*/addedLater"),
        ("member", "/nodes/*/addedLater"),
        ("member", "/addedLater"),
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
