"""Each check is seen to fail: every fault of the sandbox is found, under the fact that it breaks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.running import run_suite
from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_harness.runs.verdicts import Verdict
from knouds_harness.sandbox.faults import FAULTS

FAILING = {Verdict.BREACH, Verdict.CONFLICT}
CLAIMED_FACTS = {fact for check in all_checks().values() for fact in check.facts}
# Faults of facts that no check claims yet break promises that the report lists as not exercised.
PROVABLE_FAULTS = [fault for fault in FAULTS if fault.fact in CLAIMED_FACTS]


def failing_findings(folder, *options):
    """Run the suite on a sandbox and return its exit code and the findings that fail a run."""
    result = run_suite(["--runs-folder", str(folder), *options], console=Console(file=io.StringIO()))
    findings = read_run(result.folder).findings
    return result.exit_code, [finding for finding in findings if finding.verdict in FAILING]


@pytest.mark.parametrize("fault", PROVABLE_FAULTS, ids=lambda fault: fault.id)
def test_fault_is_found_under_its_fact(fault, tmp_path):
    """A sandbox that breaks one promise gets a breach that cites it, and no other."""
    exit_code, findings = failing_findings(tmp_path, "--fault", fault.id, "--fact", fault.fact, "--seed", "1")

    assert {finding.fact for finding in findings} == {fault.fact}
    assert exit_code == ExitCode.BREACH


@pytest.mark.parametrize("seed", range(20))
def test_healthy_sandbox_has_no_findings(seed, tmp_path):
    """A sandbox that keeps every promise gets no finding, whatever the seed."""
    exit_code, findings = failing_findings(tmp_path, "--seed", str(seed))

    assert findings == []
    assert exit_code == ExitCode.KEPT
