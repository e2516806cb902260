"""Drift as a user meets it: new things are listed."""

import pytest
from checking import check

from knouds_harness.runs.findings import Verdict

LEGAL = "own,extra=members,codes=others"


def drift_of(record):
    return {
        (finding.check.partition(".")[2], finding.where)
        for finding in record.findings
        if finding.verdict is Verdict.ADDITIVE
    }


@pytest.mark.nightly
def test_check_of_the_healthy_sandbox_finds_no_drift(tmp_path):
    assert drift_of(check(tmp_path, "--seed", "1", "--quick")) == set()


def test_additions_of_a_talkative_server_are_listed_and_do_not_fail_a_strict_run(tmp_path):
    """Members at every depth, headers, codes; not transport headers or free maps."""
    options = ("--quick", "--family", "schemas", "--seed", "1", "--legal", LEGAL, "--strict")
    record = check(tmp_path, *options)

    assert drift_of(record) >= {
        ("header", "header x-request-id"),
        ("member", "/user/addedLater"),
        ("member", "/rows/*/addedLater"),
        ("member", "/nodes/*/addedLater"),
        ("member", "/addedLater"),
        ("code", "/code"),
    }
    places = {where for _, where in drift_of(record)}
    assert not {"header cache-control", "header content-type"} & places
    assert not [where for where in places if "/data/" in where or where.startswith("/result")]
    assert record.setup.strict
    # an assumption that this server does not meet
    assert {each.fact for each in record.findings if each.fails(strict=True)} <= {"auth.plain-401-code"}
