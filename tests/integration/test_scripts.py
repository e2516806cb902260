"""What a finding says to paste into a shell shows it, and recorded traffic shows what one answer shows.

A sample of the faults stands for each way in which that is done; with ``EVERY_FAULT=1`` (``nox -s scripts``)
all are tried.
"""

from __future__ import annotations

import os
import shutil

import pytest
from checking import FAILING, check
from sampling import PROVABLE_FAULTS, TRIES_ALL, sampled
from scripting import is_shown, printed_by

from knouds_harness.exchange.reproduction.script import AT_ONCE
from knouds_harness.runs.record import read_run
from knouds_harness.suite.recorded.verification import verify
from knouds_sandbox.faults import FAULTS

if shutil.which("curl") is None and os.environ.get("CI"):
    pytest.fail("curl is missing: what is pasted into a shell cannot be tried")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl and bash")

# Why a script alone does not show a fault; each finding says so in its first lines.
A_RACE = "curl starts one process for each request: they may miss the moment"
TOO_MANY = "it rests on several executions and all polls of them"
NOW_AND_THEN = "the fault shows by chance"
A_RECEIVER = "deliveries go to a receiver, which a script of curl lines has not"
ITS_HISTORY = "what is left out depends on all that the account ran before"
NOT_BY_SCRIPT = {
    "create-twins-share-a-slug": A_RACE,
    "rate-simultaneous-uncounted": A_RACE,
    "execution-names-the-latest": TOO_MANY,
    "execution-regresses-now-and-then": NOW_AND_THEN,
    "execution-second-cancel-is-404": A_RACE,
    "usage-at-once-mixed-up": A_RACE,
    "usage-lacks-every-tenth-run": ITS_HISTORY,
    "usage-models-lacks-the-last": ITS_HISTORY,
    "whoami-at-once-mixed-up": A_RACE,
    **{fault.id: A_RECEIVER for fault in FAULTS if fault.fact.startswith("webhook.")},
}

# Why recorded traffic does not show a fault that one answer shows to whoever sent the request.
OTHER_REFUSALS = "another refusal may come first: the order of checks is open"
THE_PROFILE = "only the profile says what kind of resource or account it is"
WHY_IT_WAS_SENT = "only the test knows that this document was read before"
NOT_BY_VERIFY = {
    "capability-denied-has-retired-code": OTHER_REFUSALS,
    "capability-denied-is-404": OTHER_REFUSALS,
    "create-refuses-what-get-shows": WHY_IT_WAS_SENT,
    "model-above-tier-is-404": THE_PROFILE,
    "model-disabled-is-403": THE_PROFILE,
    "model-disabled-runs": THE_PROFILE,
    "model-tier-ignored": THE_PROFILE,
    "run-async-without-credits-accepted": THE_PROFILE,
    "run-exhausted-grant-accepted": THE_PROFILE,
    "run-exhausted-grant-in-capitals": THE_PROFILE,
    "run-exhausted-grant-is-insufficient-credits": THE_PROFILE,
    "run-foreign-workflow-accepted": THE_PROFILE,
    "run-foreign-workflow-accepted-async": THE_PROFILE,
    "run-foreign-workflow-is-403": THE_PROFILE,
    "run-granted-costs": THE_PROFILE,
    "run-provider-failure-is-200": THE_PROFILE,
    "schema-fields-null-without-input": THE_PROFILE,
    "schema-public-of-private": THE_PROFILE,
    "schema-public-of-private-with-a-key": THE_PROFILE,
    "schema-public-of-templates": THE_PROFILE,
    "write-to-foreign-template-accepted": THE_PROFILE,
}

TRIES_AT_ONCE = 30

SAMPLE = {
    "auth-cut-key-accepted": "an altered key, in one line",
    "auth-unknown-key-accepted": "a key of nobody",
    "capability-receive-implies-execution-read": "a minted key, on an execution",
    "create-slug-lacks-digits": "a created workflow",
    "run-malformed-body-is-500": "a body that is no JSON",
    "usage-limit-defaults-to-20": "a history that is filled in a loop",
    "usage-row-names-the-cheapest": "a run, and its row of usage",
    "whoami-admin-is-user": "a profile that the target contradicts",
    "rate-refusal-lacks-tier": "a window that is filled in a loop, after the clock was moved",
}


def tried_faults():
    """Every fault, or the sample."""
    if TRIES_ALL:
        return PROVABLE_FAULTS
    return [fault for fault in PROVABLE_FAULTS if fault.id in SAMPLE]


def findings_of(fault, folder):
    """The record of a run that caught a fault, and its findings of the fault's fact."""
    options = ("--fault", fault.id, "--fact", fault.fact, "--seed", "1", "--examples", "10")
    _, broken = check(folder / "first", *options, "--fail-fast")
    if fault.fact not in broken:  # what the same answer also breaks may show first
        check(folder / "all", *options)
    (run,) = folder.glob("all/runs/*") if (folder / "all").exists() else folder.glob("first/runs/*")
    record = read_run(run)
    findings = [each for each in record.findings if each.fact == fault.fact and each.verdict in FAILING]
    assert findings
    return record, findings


def shows(finding, record, fault):
    """Whether the script shows the finding at a broken server, and not at a healthy one.

    A script that sends some requests at once says that it shows the finding now and then: it is tried again.
    """
    for _ in range(TRIES_AT_ONCE if AT_ONCE in finding.reproduction else 1):
        broken, *healthy = (printed_by(finding, record, *faults) for faults in ([fault.id], [], []))
        if is_shown(finding, record, broken=broken, healthy=healthy):
            return True
    return False


@pytest.mark.parametrize("fault", sampled(tried_faults(), every=3), ids=lambda fault: fault.id)
def test_fault_is_shown_again(fault, tmp_path):
    """By the script of a finding in bash; and by the run's own exchanges where one answer shows it."""
    record, findings = findings_of(fault, tmp_path)

    if fault.id in NOT_BY_SCRIPT:
        assert all(each.reproduction.startswith(("sh ", "# ")) for each in findings)
    else:
        assert any(shows(finding, record, fault) for finding in findings), findings[0].reproduction

    if any(not finding.steps for finding in findings) and fault.id not in NOT_BY_VERIFY:
        har = record.folder / "exchanges.har"
        result = verify(har, base_url=None, strict=False, runs_folder=tmp_path / "verify")
        assert fault.fact in {each.fact for each in read_run(result.folder).findings}


def test_lists_name_faults_that_exist():
    """A reason is kept no longer than its fault."""
    known = {fault.id for fault in PROVABLE_FAULTS}

    assert NOT_BY_SCRIPT.keys() | NOT_BY_VERIFY.keys() | SAMPLE.keys() <= known
    assert not NOT_BY_SCRIPT.keys() & SAMPLE.keys()
