"""Legal servers, drawn: no seed shows a breach, and faults are found with any. Quick checks find as much."""

import os

import pytest
from checking import PROVABLE_FAULTS, TRIES_ALL, check, only, sampled

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_sandbox.legal.points import chosen

SEEDS = int(os.environ.get("LEGAL_SEEDS", "500"))
# Windows in real time, and routes that are limited too, take minutes: only the nightly seeds draw them.
QUICK = "limited=runs,window=first-request"
# What a fault needs to show: a cancel has to take a while for another to meet it.
NEEDS = {"execution-second-cancel-is-404": "stop=0.5"}
IN_CI = [(f"{seed},{QUICK}", None) for seed in (6, 8, 9, 11)]


def options_of(legal, between):
    return ["--legal", legal, *(["--between", between] if between else [])]


@pytest.mark.parametrize(
    ("legal", "between"),
    [*IN_CI, *(pytest.param(str(seed), None, marks=pytest.mark.nightly) for seed in range(SEEDS))],
)
def test_legal_server_has_no_breach(legal, between, tmp_path):
    exit_code, broken = check(tmp_path, *options_of(legal, between), "--seed", "1", "--quick")

    assert broken == set(), chosen(legal, between)
    assert exit_code == ExitCode.KEPT, chosen(legal, between)


@pytest.mark.parametrize(
    ("number", "fault"),
    sampled(list(enumerate(PROVABLE_FAULTS)), every=60 if not TRIES_ALL else 1),
    ids=lambda each: getattr(each, "id", None),
)
def test_fault_of_a_legal_server_is_found(number, fault, tmp_path):
    """Each with another seed."""
    legal = ",".join(filter(None, (str(number), QUICK, NEEDS.get(fault.id))))

    _, broken = check(tmp_path, "--legal", legal, "--fault", fault.id, "--seed", "1", *only(fault.fact))

    assert fault.fact in broken, chosen(legal, None)


@pytest.fixture(scope="module")
def claimed_facts(tmp_path_factory):
    def run(*options):
        folder = tmp_path_factory.mktemp("check")
        exit_code, _ = check(folder, "--seed", "1", *options)
        assert exit_code == ExitCode.KEPT
        (record,) = (folder / "runs").iterdir()
        return {result.fact for result in read_run(record).results if result.passed}

    return run


@pytest.mark.nightly
def test_quick_check_claims_every_fact(claimed_facts):
    assert claimed_facts("--quick") == claimed_facts()
