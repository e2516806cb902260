"""A sound server behind what deployments have in front of it: each cause is named once, and nothing else."""

from collections import Counter

import pytest
from checking import FAILING, run_command
from example_targets import PORTRAIT, PRO, SmallProfile
from intermediary import BALANCER, FIREWALL, SLOW, SMALL_BODIES, TIDY, Intermediary, in_front_of

from knouds_harness.runs.record import read_run

LIMITS = 'credits = 0\nconcurrency = 16\nallow = ["read", "write", "run", "cancel"]'
FAMILIES = ("workflows", "envelopes", "validation", "concurrency")


def failing(tmp_path, sandbox, does, *options):
    """The findings of a check through a proxy that fail it, and what it printed."""
    with in_front_of(sandbox.base_url, does) as base_url:
        profile = SmallProfile(folder=tmp_path, sandbox=sandbox, limits=LIMITS)
        profile.key("pro", PRO, user="pia", tier="pro").resource(PORTRAIT)
        words = ("check", "--quick", "--examples", "5", "--runs-folder", "runs", *options)
        ended = run_command(tmp_path, *words, "--target", profile.written(base_url=base_url))
    (run,) = (tmp_path / "runs").iterdir()
    return [each for each in read_run(run).findings if each.verdict in FAILING], ended.printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "causes"),
    [
        pytest.param(BALANCER, {"503 text/plain from middlebox"}, id="balancer"),
        pytest.param(FIREWALL, {"403 text/html from middlebox"}, id="firewall"),
        pytest.param(SMALL_BODIES, {"413 text/html from middlebox"}, id="small bodies"),
        pytest.param(TIDY, set(), id="tidy"),
        pytest.param(SLOW, set(), id="slow", marks=pytest.mark.nightly),
    ],
)
def test_only_the_intermediary_is_named(tmp_path, sandbox, does, causes):
    """One finding for each cause, with status, type and server, and none about anything else."""
    found, printed = failing(tmp_path, sandbox, does, *(f"--family={each}" for each in FAMILIES))

    assert {each.check for each in found} <= {"envelopes.intermediary"}, printed
    assert Counter(each.observed for each in found) in (Counter(causes), Counter())
    assert all(f"{each.observed}, {each.count}" in printed for each in found)


def test_headline_names_first_what_answered_most(tmp_path, sandbox):
    """If more than a fifth of the answers never came from the API."""
    _, printed = failing(tmp_path, sandbox, Intermediary(most_bytes=0), "--fact=workflows.move-body")

    assert "answers never came from the API" in printed
    assert "413 text/html from middlebox" in printed
