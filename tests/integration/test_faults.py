"""Each check is seen to fail: on a sandbox with one fault, it finds a breach of that fact.

CI tries some faults, ``nox -t nightly`` one for each fact (a subtle one if there is one), and all with
``EVERY_FAULT=1`` (``nox -s faults``).
"""

import pytest
from checking import TRIED_FAULTS, check, has_met, only, sampled

from knouds_harness.errors import ExitCode

DENIALS = {
    "capability.orthogonal",
    "capability.wildcard-stays-in-resource",
    "capability.bound-form-is-exact",
    "capability.bound-form-only-runs",
}
# What else may break with a fact: its special cases, and facts that the same response breaks too.
ALSO_BROKEN_BY_FACT = {
    "capability.missing-is-403-denied": DENIALS | {"auth.key-in-x-api-key", "envelope.code-fits-status"},
    "capability.orthogonal": DENIALS,
    "capability.wildcard-stays-in-resource": DENIALS,
    "capability.bound-form-only-runs": DENIALS,
    "capability.bound-form-is-exact": DENIALS,
    "workflows.slug-never-changes": {"workflows.creator-owns"},  # under the slug that it had
    "workflows.list-own-and-templates": {"workflows.creator-owns"},  # deleted workflows too are not read
    "workflows.creator-owns": {"workflows.get-round-trips"},  # what is given away is not read back
    # what a denied request deletes is not there for others
    "capability.denial-has-no-effect": DENIALS | {"workflows.unknown-is-404", "workflows.creator-owns"},
    "auth.before-capability": {"capability.any-valid-key-suffices"},  # which needs no key
    "auth.public-operations-need-no-key": {"health.is-public-json", "pricing.is-public-json"},
    # a key in another place is a missing one, and an altered one is unknown or malformed
    "auth.missing-key-is-401": {
        "auth.refusal-tells-nothing",
        "auth.bearer-is-not-accepted",
        "auth.query-key-is-not-accepted",
    },
    "auth.unknown-key-is-401": {"auth.refusal-tells-nothing", "auth.altered-key-is-401"},
    "auth.malformed-key-is-401": {"auth.altered-key-is-401"},
    "run.bad-slug-is-invalid-slug": {"async.workflow-submit-names-slug"},  # it names the slug as it is
    "workflows.get-round-trips": {  # what is not shown is not stored either
        "schema.shape",
        "workflows.summary-fields",
        "workflows.update-takes-subset",
    },
    "workflows.viewport-shape": {"workflows.get-round-trips"},  # a document that is shown so is no document
    "workflows.node-shape": {"workflows.get-round-trips"},
    "rate.per-user-not-per-key": {"rate.remaining-falls"},  # the bucket of a second key is fuller
    "ground.json-content-type": {"pricing.is-public-json", "health.is-public-json"},
    "envelope.code-fits-status": {"model.async-not-supported-is-400", "model.unknown-is-404"},
    "pricing.is-public-json": {"ground.json-content-type", "ground.responses-are-json-objects"},
    "health.is-public-json": {"ground.json-content-type", "ground.responses-are-json-objects"},
    "rate.headers-on-success": {"rate.refusal-headers"},
    "rate.headers-are-integers": {"rate.refusal-headers", "rate.body-and-headers-agree"},
    "rate.over-limit-is-429": {
        "envelope.code-fits-status",
        "ground.no-undocumented-server-error",
        "model.run-under-business-is-403",
        "model.unknown-is-404",
        "rate.remaining-falls",
    },
    "rate.body-and-headers-agree": {"rate.window-is-fixed-60-s"},
    "run.provider-failure-is-500": {
        "run.success-shape",
        "run.success-is-true",
        "run.result-present",
        "run.ms-is-number",
        "run.cost-is-credits",
    },
    "schema.empty-without-request-input": {"schema.shape"},
    "schema.shape": {
        "workflows.summary-cost-is-number-or-null"
    },  # the list is compared with the cost in the schema
    # asked for asynchronously, a model that is not polled may be refused for that
    "model.disabled-is-404": {"model.async-not-supported-is-400"},
    "model.above-tier-is-403": {"model.async-not-supported-is-400"},
    "run.cost-is-credits": {"run.granted-run-costs-zero"},
    # an id that another execution has leads to that one
    "async.execution-id-is-fresh": {"execution.poll-shape", "execution.cancel-in-flight"},
    "async.execution-id-is-uuid": {"async.poll-url-leads-to-execution"},
    "execution.final-is-absorbing": {
        "async.poll-url-leads-to-execution",
        "execution.completed-has-result",
        "execution.failed-has-error",
    },
    "workflows.create-makes-slug-from-name": {"workflows.slug-charset"},
    "usage.no-canvas-rows": {"usage.source-closed"},
    "usage.row-shape": {"usage.run-has-a-row"},  # the row of a run is found by its members
    "usage.row-status-closed": {"usage.filters", "usage.run-has-a-row"},
    "usage.source-closed": {"usage.slim-has-no-workflow"},
    "execution.failed-has-error": {"usage.run-has-a-row"},  # the row shows how it ended
    "whoami.tier-is-string": {"whoami.is-the-key-owner"},
    "execution.poll-shape": {"async.poll-url-leads-to-execution"},
    "webhook.agrees-with-poll": {"webhook.event-fits-ending"},
    "workflows.slug-charset": {"workflows.create-makes-slug-from-name"},
    "whoami.is-the-key-owner": {"workflows.creator-owns"},  # and whoami names the owner
}


@pytest.mark.parametrize("fault", sampled(TRIED_FAULTS, every=16), ids=lambda fault: fault.id)
def test_fault_is_found_under_its_fact(fault, tmp_path):
    """And nothing unrelated is found; the sandbox says that the fault was met."""
    options = ("--fault", fault.id, *only(fault.fact), "--seed", "1", "--examples", "10")
    folder = tmp_path / "first"
    exit_code, broken = check(folder, *options, "--fail-fast")
    if fault.fact not in broken:  # another fact that the same response breaks may be found first
        folder = tmp_path / "all"
        exit_code, broken = check(folder, *options)

    assert fault.fact in broken
    assert broken <= {fault.fact} | ALSO_BROKEN_BY_FACT.get(fault.fact, set())
    assert exit_code == ExitCode.BREACH
    assert has_met(folder, fault)
