"""Legal servers, drawn: no seed shows a breach, and faults are found with any. Quick checks find as much."""

import os
from random import Random

import pytest
from checking import FAILING, TRIES_ALL, broken_by, check, only, sampled

from knouds_harness.errors import ExitCode
from knouds_harness.judging.checks import families
from knouds_sandbox.faults import FAULTS
from knouds_sandbox.legal.points import chosen

SEEDS = int(os.environ.get("LEGAL_SEEDS", "500"))
# Windows in real time, and routes that are limited too, take minutes: only the nightly seeds draw them.
QUICK = "limited=runs,window=first-request"
# What a fault needs to show: a cancel has to take a while for another to meet it.
NEEDS = {"execution-second-cancel-is-404": "stop=0.5"}
IN_CI = range(20)
FAMILIES_IN_CI = 3


def between(seed):
    """Every fifth server has an intermediary."""
    return str(seed) if seed % 5 == 4 else None


def some_families(seed):
    """Some families, of which each is checked on several servers, but for the one that fills windows."""
    drawn = Random(seed).sample([each for each in families() if each != "rate_limits"], FAMILIES_IN_CI)
    return [word for each in drawn for word in ("--family", each)]


@pytest.mark.parametrize(
    ("legal", "between", "selection"),
    [
        *((f"{seed},{QUICK}", between(seed), some_families(seed)) for seed in IN_CI),
        *(pytest.param(str(seed), between(seed), [], marks=pytest.mark.nightly) for seed in range(SEEDS)),
    ],
)
def test_legal_server_has_no_breach(legal, between, selection, tmp_path):
    """Of what an intermediary answers itself, it is the cause."""
    options = ["--legal", legal, *(["--between", between] if between else []), *selection]
    record = check(tmp_path, *options, "--seed", "1", "--quick")

    failing = [each for each in record.findings if each.verdict in FAILING]
    broken = {each.fact for each in failing if not (between and each.is_about_intermediary)}
    assert broken == set(), chosen(legal, between)
    assert failing or record.exit_code == ExitCode.KEPT, chosen(legal, between)


@pytest.mark.parametrize(
    ("number", "fault"),
    sampled(list(enumerate(FAULTS)), every=60 if not TRIES_ALL else 1),
    ids=lambda each: getattr(each, "id", None),
)
def test_fault_of_a_legal_server_is_found(number, fault, tmp_path):
    """Each with another seed."""
    legal = ",".join(filter(None, (str(number), QUICK, NEEDS.get(fault.id))))

    options = ("--legal", legal, "--fault", fault.id, "--seed", "1")
    record = check(tmp_path, *options, *only(fault.fact))

    assert fault.fact in broken_by(record), chosen(legal, None)


@pytest.mark.nightly
def test_quick_check_claims_every_fact(tmp_path):
    claimed = []
    for folder, options in ((tmp_path / "quick", ["--quick"]), (tmp_path / "whole", [])):
        record = check(folder, "--seed", "1", *options)
        assert record.exit_code == ExitCode.KEPT
        claimed.append({result.fact for result in record.results if result.passed})

    assert claimed[0] == claimed[1]
