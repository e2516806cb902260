"""Each check is seen to fail: on a sandbox with one fault, it finds a breach of that fact.

CI tries some faults, ``nox -t nightly`` one for each fact (a subtle one if there is one), and all with
``EVERY_FAULT=1`` (``nox -s faults``).
"""

import pytest
from checking import TRIED_FAULTS, broken_by, findings_of, has_met, sampled

from knouds_harness.errors import ExitCode

# What else may break with a fact: its special cases, and facts that the same response breaks too.
ALSO_BROKEN_BY_FACT = {
    "capability.missing-is-403-denied": {
        "capability.orthogonal",
        "capability.wildcard-stays-in-resource",
        "capability.bound-form-is-exact",
        "capability.bound-form-only-runs",
        "model.unknown-is-404",
        "model.run-under-business-is-403",
    },
    "capability.orthogonal": {"capability.bound-form-only-runs"},
    "capability.wildcard-stays-in-resource": {"capability.bound-form-only-runs"},
    "workflows.slug-never-changes": {"workflows.creator-owns"},  # under the slug that it had
    "capability.denial-has-no-effect": {"workflows.creator-owns"},  # what is deleted so is gone
    # a key in another place is a missing one, and an altered one is unknown or malformed
    "auth.missing-key-is-401": {"auth.bearer-is-not-accepted", "auth.query-key-is-not-accepted"},
    "auth.unknown-key-is-401": {"auth.altered-key-is-401"},
    "auth.malformed-key-is-401": {"auth.altered-key-is-401"},
    "run.bad-slug-is-invalid-slug": {"async.workflow-submit-names-slug"},  # it names the slug as it is
    # what is not shown is not stored either
    "workflows.get-round-trips": {"schema.shape", "workflows.summary-fields"},
    "workflows.viewport-shape": {"workflows.get-round-trips"},  # a document that is shown so is no document
    "workflows.node-shape": {"workflows.get-round-trips"},
    # the bucket of a second key is fuller, or of another window
    "rate.per-user-not-per-key": {"rate.remaining-falls", "rate.window-is-fixed-60-s"},
    "envelope.code-fits-status": {
        "model.async-not-supported-is-400",
        "model.disabled-is-404",
        "model.unknown-is-404",
    },
    "health.is-public-json": {"ground.json-content-type", "ground.responses-are-json-objects"},
    "rate.headers-on-success": {"rate.refusal-headers"},
    "rate.headers-are-integers": {"rate.refusal-headers", "rate.body-and-headers-agree"},
    "rate.over-limit-is-429": {
        "envelope.code-fits-status",
        "ground.no-undocumented-server-error",
        "rate.remaining-falls",
    },
    "rate.body-and-headers-agree": {"rate.window-is-fixed-60-s"},
    "run.provider-failure-is-500": {
        "run.success-shape",
        "run.success-is-true",
        "run.result-present",
        "run.ms-is-number",
    },
    "schema.empty-without-request-input": {"schema.shape"},
    # asked for asynchronously, a model that is not polled may be refused for that
    "model.disabled-is-404": {"model.async-not-supported-is-400"},
    "model.above-tier-is-403": {"model.async-not-supported-is-400"},
    "async.execution-id-is-fresh": {"execution.poll-shape"},  # an id of another leads to that one
    "async.execution-id-is-uuid": {"async.poll-url-leads-to-execution"},
    "execution.final-is-absorbing": {"execution.completed-has-result", "execution.failed-has-error"},
    "usage.no-canvas-rows": {"usage.source-closed"},
    "usage.row-shape": {"usage.run-has-a-row"},  # the row of a run is found by its members
    "usage.row-status-closed": {"usage.filters", "usage.run-has-a-row"},
    "usage.source-closed": {"usage.slim-has-no-workflow"},
    "whoami.tier-is-string": {"whoami.is-the-key-owner"},
    "execution.poll-shape": {"async.poll-url-leads-to-execution"},
    "webhook.agrees-with-poll": {"webhook.event-fits-ending"},
    "workflows.slug-charset": {"workflows.create-makes-slug-from-name"},
}


@pytest.mark.parametrize("fault", sampled(TRIED_FAULTS, every=16), ids=lambda fault: fault.id)
def test_fault_is_found_under_its_fact(fault, tmp_path):
    """And nothing unrelated is found; the sandbox says that the fault was met."""
    record, _ = findings_of(fault, tmp_path)

    assert broken_by(record) <= {fault.fact} | ALSO_BROKEN_BY_FACT.get(fault.fact, set())
    assert record.exit_code == ExitCode.BREACH
    assert has_met(record, fault)
