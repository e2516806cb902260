"""Every fault: a promise that the sandbox can be told to break, one at a time.

Faults show that checks can fail. Each breaks what one documented fact says, in a line beside the behaviour
itself (``"auth-revoked-accepted" in faults``); a test holds this list and those lines together. Users write
fault ids down: renaming one breaks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from knouds_harness.errors import UnknownName


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One promise to break.

    ``fact`` is the id of the documented fact, ``says`` what the sandbox then does.
    """

    id: str
    fact: str
    says: str


def check_faults(ids: Iterable[str]) -> frozenset[str]:
    """The ids as a set, if each of them exists.

    Raises:
        UnknownName: One of them does not.
    """
    known = {fault.id for fault in FAULTS}
    for fault_id in ids:
        if fault_id not in known:
            raise UnknownName("fault", fault_id, known)
    return frozenset(ids)


_FAULTS_BY_FACT: Mapping[str, Mapping[str, str]] = {
    # --- ground rules
    "ground.no-undocumented-server-error": {
        "envelope-provider-failure-is-502": "EXECUTION_FAILED comes with 502.",
        "run-inputs-number-is-500": "Inputs that are a number are a 500.",
        "run-malformed-body-is-500": "A run body that is no JSON is a 500.",
        "usage-garbled-number-is-500": "A garbled limit or offset is a 500.",
    },
    "ground.bodiless-needs-no-content-type": {
        "execution-cancel-needs-content-type": "Cancelling wants a Content-Type.",
    },
    "ground.json-content-type": {
        "envelope-plain-401-as-text": "The plain 401 declares text/plain.",
        "envelope-404-as-html": "A 404 declares text/html.",
        "envelope-denial-as-problem-json": "A denial declares application/problem+json.",
        "usage-as-text": "Usage declares text/plain.",
    },
    "ground.status-is-documented": {
        "whoami-is-203": "whoami answers 203.",
    },
    "ground.responses-are-json-objects": {
        "health-is-json-string": "Health is a JSON string.",
    },
    # --- authentication
    "auth.key-in-x-api-key": {
        "auth-valid-key-refused": "Usage models refuses every key.",
    },
    "auth.missing-key-is-401": {
        "auth-missing-key-accepted": "A request without a key acts as the enterprise account.",
        "auth-missing-key-sees-usage": "Usage alone answers without a key.",
        "auth-missing-key-is-403": "A request without a key is a 403.",
    },
    "auth.before-capability": {
        "auth-missing-key-is-denied": "A request without a key is refused for a capability.",
    },
    "auth.empty-key-is-401": {
        "auth-empty-key-accepted": "An empty key acts as the enterprise account.",
    },
    "auth.malformed-key-is-401": {
        "auth-malformed-key-accepted": "A key without the prefix acts as the enterprise account.",
    },
    "auth.unknown-key-is-401": {
        "auth-unknown-key-accepted": "A well-formed key that nobody holds acts as the enterprise account.",
        "auth-unknown-key-is-403": "A key that nobody holds is a 403.",
    },
    "auth.altered-key-is-401": {
        "auth-key-case-ignored": "Keys are compared without regard to case.",
        "auth-cut-key-accepted": "The beginning of a key is taken for the key.",
        "auth-prolonged-key-accepted": "A key with something appended is taken for the key.",
    },
    "auth.revoked-key-is-401": {
        "auth-revoked-accepted": "A revoked key still works.",
        "auth-revoked-still-polls": "A revoked key still polls executions.",
        "auth-revoked-is-403": "A revoked key is a 403.",
    },
    "auth.legacy-key-is-401-retired": {
        "auth-legacy-accepted": "A key made before May 2026 still works.",
        "auth-legacy-is-plain-401": "A key made before May 2026 gets the plain 401.",
    },
    "auth.unapproved-account-is-401": {
        "auth-unapproved-accepted": "A key of an account not yet approved works.",
        "auth-unapproved-is-403": "A key of an account not yet approved is a 403.",
    },
    "auth.bearer-is-not-accepted": {
        "auth-bearer-accepted": "A key in Authorization: Bearer works.",
    },
    "auth.query-key-is-not-accepted": {
        "auth-query-key-accepted": "A key in the query string works.",
    },
    "auth.session-paths-refuse-keys": {
        "auth-session-me-open": "/api/me answers any key.",
        "auth-session-credits-open": "/api/credits/* answers any key.",
        "auth-session-keys-open-to-star": "/api/api-keys/* answers a key that holds *.",
        "auth-session-admin-open": "/api/business/admin/* answers an administrator's key.",
    },
    "auth.public-operations-need-no-key": {
        "auth-public-schema-needs-key": "The public schema wants a key.",
        "auth-pricing-needs-key": "Public pricing wants a key.",
        "auth-health-needs-key": "Health wants a key.",
    },
    # --- tiers
    "tier.rate-limit-pro": {
        "tier-pro-limit-is-60": "A pro account is held to 60 requests.",
    },
    "tier.rate-limit-business": {
        "tier-business-limit-is-100": "A business account is held to 100 requests.",
    },
    "tier.rate-limit-enterprise": {
        "tier-enterprise-is-limited": "An enterprise account is held to 1,000 requests.",
    },
    "tier.admin-bypasses-gates": {
        "tier-admin-is-limited": "An administrator is held to 100 requests.",
    },
    # --- capabilities
    "capability.missing-is-403-denied": {
        "capability-workflow-run-unchecked": "Running a workflow needs no capability.",
        "capability-model-run-unchecked": "Running a model needs no capability.",
        "capability-list-unchecked": "Listing workflows needs no capability.",
        "capability-schema-unchecked": "A workflow's schema needs no capability.",
        "capability-move-unchecked": "Moving a workflow needs no capability.",
        "capability-cancel-unchecked": "Cancelling an execution needs no capability.",
        "capability-denied-is-404": "A key without the capability gets a 404.",
        "capability-denied-is-401": "A key without the capability gets a 401.",
        "capability-denied-has-retired-code": "The denial has the retired code SCOPE_DENIED.",
    },
    "capability.denied-names-required": {
        "capability-denied-names-nothing": "The denial has no `required`.",
        "capability-denied-names-another": "The denial always requires webhook:receive.",
        "capability-denied-names-old-scope": "The denial requires a retired scope.",
    },
    "capability.exact-is-admitted": {
        "capability-cancel-alone-refused": "execution:cancel by itself admits nothing.",
        "capability-schema-needs-run": "workflow:read by itself does not open a schema.",
    },
    "capability.orthogonal": {
        "capability-write-implies-read": "workflow:write implies workflow:read.",
        "capability-run-implies-read": "workflow:run implies workflow:read.",
        "capability-run-implies-model-run": "workflow:run implies model:run.",
        "capability-read-implies-execution-read": "workflow:read implies execution:read.",
        "capability-cancel-implies-execution-read": "execution:cancel implies execution:read.",
        "capability-receive-implies-execution-read": "webhook:receive implies execution:read.",
    },
    "capability.resource-wildcard-is-admitted": {
        "capability-wildcard-ignored": "A resource's wildcard admits nothing.",
        "capability-wildcard-lacks-cancel": "execution:* does not admit cancelling.",
    },
    "capability.wildcard-stays-in-resource": {
        "capability-wildcard-crosses-resources": "A wildcard admits every resource.",
        "capability-model-wildcard-reads-workflows": "model:* admits workflow:read.",
    },
    "capability.star-is-admitted": {
        "capability-star-lacks-executions": "* does not admit executions.",
        "capability-star-lacks-writing": "* does not admit writing.",
    },
    "capability.bound-form-is-admitted": {
        "capability-bound-workflow-ignored": "A key bound to a workflow may not run it.",
        "capability-bound-model-ignored": "A key bound to a model may not run it.",
    },
    "capability.bound-form-is-exact": {
        "capability-bound-form-runs-any": "A key bound to one workflow or model runs any.",
        "capability-bound-form-matches-longer": "A bound key runs names that begin with its own.",
        "capability-bound-form-matches-shorter": "A bound key runs names that its own begins with.",
    },
    "capability.bound-form-only-runs": {
        "capability-bound-form-reads": "A key bound to a workflow may read.",
        "capability-bound-form-writes": "A key bound to a workflow may write.",
    },
    "capability.any-valid-key-suffices": {
        "capability-whoami-needs-read": "whoami wants workflow:read.",
        "capability-usage-needs-execution-read": "Usage wants execution:read.",
        "capability-usage-models-needs-model-run": "Usage models wants model:run.",
    },
    "capability.denial-has-no-effect": {
        "capability-denied-create-happens": "A denied create leaves a workflow behind.",
        "capability-denied-update-happens": "A denied update changes the workflow.",
        "capability-denied-move-happens": "A denied move changes the folder.",
        "capability-denied-delete-happens": "A denied delete deletes.",
    },
    # --- envelopes
    "envelope.error-has-text": {
        "envelope-404-without-text": "A 404 has no `error`.",
        "envelope-denial-with-empty-text": "The text of a denial is empty.",
        "envelope-invalid-inputs-text-is-object": "The `error` of INVALID_INPUTS is an object.",
    },
    "envelope.error-has-code": {
        "envelope-unknown-execution-without-code": "The 404 of an execution has no `code`.",
        "envelope-unknown-execution-code-is-number": "The `code` of an execution's 404 is a number.",
        "envelope-unknown-execution-code-is-empty": "The `code` of an execution's 404 is empty.",
    },
    "envelope.plain-401-has-code": {
        "envelope-plain-401-without-code": "The plain 401 has no `code`.",
    },
    "envelope.unknown-workflow-404-has-code": {
        "envelope-unknown-workflow-without-code": "The 404 of a workflow has no `code`.",
    },
    "envelope.code-is-constant": {
        "envelope-code-names-the-slug": "The `code` of a workflow's 404 holds the slug.",
    },
    "envelope.error-is-object": {
        "envelope-unknown-execution-is-array": "The 404 of an execution is an array.",
        "envelope-unknown-execution-is-string": "The 404 of an execution is a string.",
    },
    "envelope.code-fits-status": {
        "envelope-invalid-inputs-is-422": "INVALID_INPUTS comes with 422.",
        "envelope-model-not-found-is-400": "MODEL_NOT_FOUND comes with 400.",
        "envelope-insufficient-credits-is-403": "INSUFFICIENT_CREDITS comes with 403.",
        "envelope-async-not-supported-is-409": "ASYNC_NOT_SUPPORTED comes with 409.",
    },
    # --- validation
    "run.inputs-missing-is-invalid-inputs": {
        "run-inputs-missing-accepted": "A run without inputs is accepted.",
        "run-inputs-missing-is-invalid-body": "A run without inputs is an INVALID_BODY.",
    },
    "run.inputs-not-object-is-invalid-inputs": {
        "run-inputs-array-accepted": "Inputs may be an array.",
        "run-inputs-null-accepted": "Inputs may be null.",
        "run-inputs-text-accepted": "Inputs may be a text.",
    },
    "run.body-not-json-is-invalid-body": {
        "run-malformed-body-accepted": "A run body that is no JSON is accepted.",
        "run-malformed-body-is-invalid-inputs": "A run body that is no JSON is an INVALID_INPUTS.",
    },
    "run.bad-slug-is-invalid-slug": {
        "run-slug-case-ignored": "A slug with capitals runs its lowercase form.",
        "run-bad-slug-is-404": "A slug with other characters is a 404.",
        "run-bad-slug-is-invalid-inputs": "A slug with other characters is an INVALID_INPUTS.",
        "run-bad-model-name-is-404": "A model name with other characters is a 404.",
    },
    "run.defaults-for-left-out-fields": {
        "run-defaults-ignored": "A left-out field is refused.",
    },
    "run.unknown-workflow-is-404": {
        "run-unknown-workflow-is-invalid-slug": "Running an unknown workflow is an INVALID_SLUG.",
        "run-unknown-workflow-is-410": "Running an unknown workflow is a 410.",
    },
    "run.foreign-workflow-is-404": {
        "run-foreign-workflow-accepted": "Someone else's private workflow runs.",
        "run-foreign-workflow-is-403": "Running someone else's private workflow is a 403.",
    },
    "run.too-few-credits-is-402": {
        "run-without-credits-accepted": "A run without enough credits goes through.",
        "run-without-credits-is-400": "A run without enough credits is a 400.",
    },
    "run.exhausted-grant-is-402": {
        "run-exhausted-grant-accepted": "A run on a used-up trial grant goes through.",
        "run-exhausted-grant-in-capitals": "The code of a used-up trial grant is GRANT_EXHAUSTED.",
        "run-exhausted-grant-is-insufficient-credits": "A used-up trial grant is an INSUFFICIENT_CREDITS.",
    },
    "run.granted-run-costs-zero": {
        "run-granted-costs": "A run that a trial grant paid reports its price.",
    },
    "run.provider-failure-is-500": {
        "run-provider-failure-is-200": "A provider's failure is a 200.",
    },
    "model.unknown-is-404": {
        "model-unknown-is-plain-404": "An unknown model is a plain 404.",
        "model-unknown-is-invalid-slug": "An unknown model is an INVALID_SLUG.",
    },
    "model.disabled-is-404": {
        "model-disabled-runs": "A disabled model runs.",
        "model-disabled-is-403": "A disabled model is a 403.",
    },
    "model.above-tier-is-403": {
        "model-tier-ignored": "A model above the account's tier runs.",
        "model-above-tier-is-404": "A model above the account's tier is a 404.",
    },
    "model.run-under-business-is-403": {
        "model-run-under-business": "A pro account runs models.",
        "model-run-under-business-is-402": "A model run of a pro account is a 402.",
    },
    "model.async-not-supported-is-400": {
        "model-async-for-all": "Every model runs asynchronously.",
    },
    "workflows.create-requires-name": {
        "create-without-name-accepted": "A workflow without a name is created.",
    },
    "workflows.free-capped-at-one": {
        "create-free-uncapped": "A free account creates more than one workflow.",
    },
    "workflows.get-round-trips": {
        "create-refuses-what-get-shows": "Create refuses a document with updatedAt.",
    },
    "workflows.creator-owns": {
        "create-believes-created-by": "Create takes createdBy from the body.",
        "workflows-document-names-another-creator": "createdBy is someone else.",
    },
    "workflows.create-makes-slug-from-name": {
        "create-slug-keeps-capitals": "A new slug keeps the name's capitals.",
    },
    "workflows.slug-charset": {
        "create-slug-with-underscores": "A new slug has underscores.",
    },
    "workflows.create-suffixes-taken-slug": {
        "create-suffixes-from-1": "The first suffix of a taken slug is -1.",
        "create-suffixes-without-hyphen": "The suffix of a taken slug has no hyphen.",
    },
    "workflows.update-takes-subset": {
        "update-resets-what-is-left-out": "Update empties the tags and description that it is not given.",
        "update-ignores-description": "Update does not change the description.",
    },
    "workflows.slug-never-changes": {
        "update-makes-slug-anew": "A new name makes a new slug.",
        "update-believes-slug": "Update takes the slug from the body.",
    },
    "workflows.move-sets-folder": {
        "move-changes-nothing": "Move leaves the folder alone.",
        "move-to-root-ignored": "Move to the root leaves the folder alone.",
    },
    "workflows.delete-then-404": {
        "delete-keeps-the-workflow": "A deleted workflow is still there.",
    },
    "workflows.foreign-write-is-refused": {
        "write-to-foreign-accepted": "Anyone may write to any workflow.",
        "write-to-foreign-template-accepted": "Anyone may write to a template.",
    },
    "workflows.admin-does-not-own": {
        "write-to-foreign-by-admin-accepted": "An administrator may write to any workflow.",
    },
    # --- schemas
    "whoami.user-object": {
        "whoami-without-user-object": "whoami answers the user's members at the top.",
        "whoami-lacks-email": "The user has no email.",
    },
    "whoami.role-closed": {
        "whoami-role-in-capitals": "role is in capitals.",
        "whoami-role-is-owner": "role is owner.",
    },
    "whoami.tier-is-string": {
        "whoami-tier-as-number": "tier is a number.",
        "whoami-tier-in-object": "tier is an object.",
    },
    "whoami.approved-is-true": {
        "whoami-approved-as-text": "approved is a text.",
    },
    "whoami.is-the-key-owner": {
        "whoami-describes-another": "whoami describes someone else.",
    },
    "workflows.list-is-array": {
        "workflows-list-in-object": "The list comes in an object.",
    },
    "workflows.list-own-and-templates": {
        "workflows-list-lacks-templates": "The list leaves other people's templates out.",
        "workflows-list-shows-foreign": "The list shows everyone's workflows.",
        "workflows-list-shows-foreign-public": "The list shows other people's public playgrounds.",
    },
    "workflows.summary-fields": {
        "workflows-summary-lacks-folder": "A summary has no folderId.",
        "workflows-summary-tags-as-text": "A summary's tags are one text.",
        "workflows-summary-template-as-number": "A summary's isTemplate is a number.",
    },
    "workflows.summary-cost-is-number-or-null": {
        "workflows-summary-cost-as-text": "A summary's cost is a text.",
    },
    "workflows.updated-at-is-iso": {
        "workflows-summary-updated-at-epoch": "A summary's updatedAt is a number.",
        "workflows-document-updated-at-epoch": "A workflow's updatedAt is a number.",
    },
    "workflows.document-shape": {
        "workflows-get-in-object": "A workflow comes in an object.",
        "workflows-document-lacks-created-by": "A workflow has no createdBy.",
    },
    "workflows.viewport-shape": {
        "workflows-viewport-as-list": "The viewport is a list.",
    },
    "workflows.node-shape": {
        "workflows-node-lacks-position": "A node has no position.",
        "workflows-node-id-as-number": "A node's id is a number.",
    },
    "workflows.edge-shape": {
        "workflows-edge-lacks-handle": "An edge has no targetHandle.",
    },
    "workflows.unknown-is-404": {
        "workflows-unknown-is-400": "An unknown workflow is a 400 on read.",
    },
    "schema.fields-have-name-and-type": {
        "schema-field-lacks-type": "A field has no type.",
        "schema-field-lacks-name": "A field has no name.",
    },
    "schema.empty-without-request-input": {
        "schema-fields-null-without-input": "fields is null without a Request Input node.",
    },
    "schema.shape": {
        "schema-lacks-values": "A schema has no values.",
        "schema-lacks-cost": "A schema has no estimatedCreditCost.",
        "schema-cost-as-text": "A schema's estimatedCreditCost is a text.",
    },
    "schema.public-shape-without-cost": {
        "schema-public-with-cost": "The public schema shows the cost.",
        "schema-public-lacks-fields": "The public schema has no fields.",
    },
    "schema.public-only-when-public": {
        "schema-public-of-private": "Every workflow has a public schema.",
    },
    "schema.unknown-is-404": {
        "schema-of-unknown-is-empty": "The schema of an unknown workflow is an empty one.",
    },
    "run.success-is-true": {
        "run-success-as-text": "success is a text.",
        "run-success-is-false": "success is false.",
    },
    "run.success-shape": {
        "run-lacks-cost": "A run reports no cost.",
    },
    "run.result-present": {
        "run-lacks-result": "A run has no result.",
        "run-images-as-text": "images is a text.",
    },
    "run.cost-is-credits": {
        "run-cost-as-text": "cost is a text.",
        "run-cost-negative": "cost is negative.",
    },
    "run.charged-per-generator": {
        "run-charged-once": "A run costs one unit, however many it makes.",
    },
    "run.charge-equals-usage": {
        "run-cost-differs-from-usage": "A run's cost is not what its usage row says.",
    },
    "run.ms-is-number": {
        "run-ms-as-text": "ms is a text.",
        "run-lacks-ms": "A workflow run reports no ms.",
    },
    "async.submit-shape": {
        "async-lacks-marker": "A submit has no _async.",
        "async-lacks-request-id": "A submit has no requestId.",
    },
    "async.submit-is-processing": {
        "async-status-is-queued": "A submitted execution is queued.",
    },
    "async.execution-id-is-uuid": {
        "async-execution-id-is-short": "executionId is eight characters.",
    },
    "async.execution-id-is-fresh": {
        "async-execution-id-repeats": "Every submit gets the same executionId.",
    },
    "async.workflow-submit-names-slug": {
        "async-lacks-workflow-slug": "A workflow's submit has no workflowSlug.",
    },
    "async.poll-url-leads-to-execution": {
        "async-poll-url-elsewhere": "pollUrl leads to /api/runs.",
    },
    "async.webhook-delivery-shape": {
        "async-webhook-configured-as-text": "configured is a text.",
        "async-webhook-lacks-configured": "webhookDelivery is empty.",
    },
    "async.submit-under-500-ms": {
        "async-submit-is-slow": "A submit takes 700 ms.",
    },
    "execution.poll-shape": {
        "execution-lacks-id": "A poll has no executionId.",
    },
    "execution.status-closed": {
        "execution-status-is-done": "A completed execution is done.",
    },
    "execution.completed-has-result": {
        "execution-lacks-result": "A completed execution has no result.",
    },
    "execution.failed-has-error": {
        "execution-error-as-text": "A failed execution's error is a text.",
        "execution-error-lacks-code": "A failed execution's error has no code.",
    },
    "execution.unknown-is-404": {
        "execution-unknown-is-400": "An unknown execution is a 400.",
    },
    "execution.foreign-is-404": {
        "execution-shown-to-strangers": "Anyone may poll and cancel an execution.",
    },
    "execution.final-is-absorbing": {
        "execution-final-flips": "An ended execution shows another end half a second later.",
    },
    "execution.edges": {
        "execution-cancel-request-not-shown": "An execution whose cancelling was accepted shows processing.",
    },
    "execution.cancel-in-flight": {
        "execution-cancel-refused": "An execution in flight cannot be cancelled.",
        "execution-cancel-does-nothing": "Cancelling is accepted and ignored.",
    },
    "execution.cancelled-is-charged": {
        "execution-cancel-refunds": "A cancelled run is not charged.",
    },
    "execution.cancel-after-end-changes-nothing": {
        "execution-cancel-rewrites-the-end": "Cancelling an ended execution makes it cancelled.",
    },
    "usage.page-shape": {
        "usage-lacks-total": "Usage has no total.",
        "usage-page-size-as-text": "pageSize is a text.",
    },
    "usage.row-shape": {
        "usage-row-lacks-request-id": "A row has no requestId.",
        "usage-row-id-as-text": "A row's id is a text.",
        "usage-row-models-as-text": "A row's modelIds are one text.",
        "usage-row-created-at-epoch": "A row's createdAt is a number.",
        "usage-row-credits-as-fraction": "A row's creditsCost is no whole number.",
    },
    "usage.row-status-closed": {
        "usage-row-status-is-done": "An ended row is done.",
    },
    "usage.source-closed": {
        "usage-row-source-is-api": "A row's source is api.",
    },
    "usage.slim-has-no-workflow": {
        "usage-slim-names-a-workflow": "A direct model run names a workflow.",
    },
    "usage.run-has-a-row": {
        "usage-lacks-failed-runs": "Failed runs have no row.",
    },
    "usage.own-rows-only": {
        "usage-shows-everyones-rows": "Usage shows everyone's rows.",
    },
    "usage.no-canvas-rows": {
        "usage-shows-canvas-rows": "Usage shows canvas rows.",
    },
    "usage.no-provider-ids": {
        "usage-shows-provider-ids": "Usage shows provider-internal model ids.",
    },
    "usage.limit-defaults-to-50": {
        "usage-limit-defaults-to-20": "limit defaults to 20.",
    },
    "usage.limit-at-most-500": {
        "usage-limit-unbounded": "limit has no upper bound.",
    },
    "usage.limit-is-kept": {
        "usage-limit-ignored": "limit is ignored.",
    },
    "usage.offset-skips": {
        "usage-offset-ignored": "offset is ignored.",
    },
    "usage.filters": {
        "usage-status-filter-ignored": "status does not filter.",
        "usage-model-filter-ignored": "modelId does not filter.",
        "usage-workflow-filter-ignored": "workflowSlug does not filter.",
    },
    "usage.models-are-distinct": {
        "usage-models-repeat": "Usage models repeats ids.",
    },
    "rate.headers-on-success": {
        "rate-headers-left-out": "The rate-limit headers are left out.",
        "rate-reset-left-out": "X-RateLimit-Reset is left out.",
    },
    "rate.headers-are-integers": {
        "rate-reset-in-ms": "X-RateLimit-Reset is in milliseconds.",
        "rate-limit-with-unit": "X-RateLimit-Limit carries a window.",
    },
    "rate.remaining-falls": {
        "rate-remaining-stands-still": "X-RateLimit-Remaining never falls.",
    },
    "rate.window-is-fixed-60-s": {
        "rate-window-is-an-hour": "The window is an hour long.",
    },
    "rate.over-limit-is-429": {
        "rate-one-too-many": "One request over the limit goes through.",
        "rate-refusal-is-503": "A request over the limit is a 503.",
        "rate-refusal-has-other-code": "The code over the limit is TOO_MANY_REQUESTS.",
    },
    "rate.refusal-fields": {
        "rate-refusal-lacks-tier": "A 429 has no tier.",
    },
    "rate.refusal-headers": {
        "rate-refusal-lacks-retry-after": "A 429 has no Retry-After.",
    },
    "rate.body-and-headers-agree": {
        "rate-refusal-in-ms": "retryAfter is in milliseconds.",
    },
    "rate.per-user-not-per-key": {
        "rate-counted-per-key": "Each key has a bucket of its own.",
    },
    "rate.separate-per-route": {
        "rate-shared-by-routes": "The two run endpoints share a bucket.",
    },
    "pricing.is-public-json": {
        "pricing-is-404": "Public pricing is a 404.",
        "pricing-is-html": "Public pricing is a page.",
    },
    "health.is-public-json": {
        "health-is-text": "Health is a plain text.",
    },
    # --- webhooks
    "webhook.payload-shape": {
        "webhook-lacks-request-id": "A delivery has no requestId.",
    },
    "webhook.event-fits-ending": {
        "webhook-event-always-completed": "Every event is execution.completed.",
    },
    "webhook.one-per-ended-execution": {
        "webhook-sent-twice": "Every delivery comes twice.",
    },
    "webhook.needs-receive-capability": {
        "webhook-without-capability": "A key without webhook:receive gets deliveries.",
    },
    "webhook.signature-header": {
        "webhook-signature-without-time": "The signature has no t.",
    },
    "webhook.signature-covers-raw-body": {
        "webhook-signs-other-spacing": "The signature covers the body with other spacing.",
    },
    "webhook.timestamp-is-fresh": {
        "webhook-timestamp-is-old": "t is an hour ago.",
    },
    "webhook.agrees-with-poll": {
        "webhook-says-completed-for-failed": "A failed execution is delivered as completed.",
    },
}

FAULTS = tuple(
    Fault(id=fault_id, fact=fact, says=says)
    for fact, faults in _FAULTS_BY_FACT.items()
    for fault_id, says in faults.items()
)
