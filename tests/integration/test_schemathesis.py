"""``st run`` with the shipped configuration: passes on a sound server, fails by our checks otherwise."""

import sys
from pathlib import Path

import httpx
import pytest
from checking import run_program, sampled

from knouds_sandbox.serving import running_sandbox

ROOT = Path(__file__).parents[2]
ST = str(Path(sys.executable).with_name("st"))
MOST_PAID_RUNS = 80  # ten sequences of six steps, and a few examples of both runs
WAIVED = """
[checks.knouds_envelopes_envelope]
waivers = [
  { fact = "envelope.plain-401-has-code", reason = "known", expires = "2999-01-01" },
  { fact = "envelope.unknown-workflow-404-has-code", reason = "known", expires = "2999-01-01" },
]
"""


def st_run(sandbox, *options, key="full", workflow="portrait", config=ROOT / "schemathesis.toml"):
    """Run schemathesis as a user of the checkout does; return exit code and output."""
    process = run_program(
        *(ST, "--config-file", config, "run", "spec/openapi.yaml"),
        *("--url", sandbox.base_url, "--seed", "1", *options),
        cwd=ROOT,
        KNOUDS_API_KEY=sandbox.keys[key],
        KNOUDS_WORKFLOW=workflow,
        NO_COLOR="1",
    )
    return process.returncode, process.stdout + process.stderr


def rows_of(sandbox, *, key):
    """Return how many runs usage shows for the account of a key."""
    usage = httpx.get(f"{sandbox.base_url}/api/usage", headers={"x-api-key": sandbox.keys[key]})
    return usage.json()["total"]


SOUND = [(None, 5), (None, 20), ("1,limited=runs", 20), ("2,limited=runs", 20)]


@pytest.mark.parametrize(("legal", "examples"), sampled(SOUND, every=4))
def test_sound_server_has_no_failure(legal, examples):
    with running_sandbox(seed=1, legal=legal) as sandbox:
        code, output = st_run(sandbox, "--max-examples", examples)

    assert code == 0, output
    assert "17 selected / 17 total" in output


@pytest.mark.nightly
def test_limited_account_has_no_failure_and_bounded_cost():
    """Its runs have rate-limit headers."""
    with running_sandbox(seed=1) as sandbox:
        before = rows_of(sandbox, key="pro")
        code, output = st_run(sandbox, key="pro", workflow="pia-portrait")
        paid_runs = rows_of(sandbox, key="pro") - before

    assert code == 0, output
    assert 0 < paid_runs <= MOST_PAID_RUNS


FAULTS = [
    ("envelope-unknown-execution-without-code", "knouds_envelopes_envelope", "examples", ["getExecution"]),
    ("envelope-404-as-html", "knouds_envelopes_json_content_type", "examples", ["getExecution"]),
    ("envelope-model-not-found-is-400", "knouds_envelopes_code_fits_status", "fuzzing", ["runModel"]),
    ("whoami-lacks-email", "knouds_schemas_body", "examples", ["getWhoami"]),
    ("rate-reset-left-out", "knouds_schemas_limited_run_headers", "examples", ["getWhoami", "runWorkflow"]),
]


@pytest.mark.parametrize(("fault", "check", "phase", "operations"), sampled(FAULTS, every=3))
def test_fault_fails_by_our_check(fault, check, phase, operations):
    """Under the name of the check of the broken fact, and no other."""
    selected = [part for each in operations for part in ("--include-operation-id", each)]

    with running_sandbox(seed=1, faults=(fault,)) as sandbox:
        code, output = st_run(sandbox, "--phases", phase, *selected, key="business", workflow="bea-portrait")

    assert code == 1, output
    failures = {line for line in output.splitlines() if line.startswith("- ST")}
    assert failures == {f"- ST901 Custom check failed: `{check}`"}


def test_conflict_can_be_waived(tmp_path):
    """A server that follows the losing page passes once the facts are waived in the configuration."""
    config = tmp_path / "schemathesis.toml"
    config.write_text((ROOT / "schemathesis.toml").read_text(encoding="utf-8") + WAIVED, encoding="utf-8")
    options = ("--phases", "examples", "--include-operation-id", "deleteWorkflow")

    with running_sandbox(seed=1, faults=("envelope-unknown-workflow-without-code",)) as sandbox:
        code, output = st_run(sandbox, *options, config=config)

    assert code == 0, output


def test_missing_key_is_named():
    process = run_program(ST, "run", "spec/openapi.yaml", "--url", "http://127.0.0.1:9", cwd=ROOT)

    assert process.returncode != 0
    assert "KNOUDS_API_KEY" in process.stdout + process.stderr


def test_each_schemathesis_check_is_documented():
    program = "import knouds_harness.schemathesis_checks; from schemathesis.checks import CHECKS; "
    program += "print(*(name for name in CHECKS.get_all_names() if name.startswith('knouds_')))"
    names = run_program(sys.executable, "-c", program).stdout

    page = (ROOT / "docs" / "schemathesis.md").read_text(encoding="utf-8")

    assert names
    assert [name for name in names.split() if f"`{name}`" not in page] == []
