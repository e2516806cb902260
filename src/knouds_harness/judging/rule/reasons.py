"""The documented reasons to refuse a request: one table, in the words of the contract.

Each row says when its reason applies, and what a refusal for it looks like. The order in which a server looks
at reasons is its own, except that what a key may do and see is decided after the key itself
(``auth.before-capability``, ``auth.refusal-tells-nothing``), and that some show only if nothing else refuses.
"""

import re
from typing import Any, Final

from knouds_harness.judging.rule import admission, applies
from knouds_harness.judging.rule.applies import Decision, always_open, both, in_body, is_object, open_if
from knouds_harness.judging.rule.asked import EXTREME, NOT_JSON
from knouds_harness.judging.rule.reason import REFUSALS, Reason, open_row, row

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SMALL_BYTES: Final = 4096
"""Every server takes bodies of this length; how much more it takes is its own."""
OF_INPUT: Final = tuple(each for each in REFUSALS if each not in (403, 413, 414, 415, 431))
_RUNS: Final = ("runWorkflow", "runModel")
_READS: Final = ("getWorkflow", "getWorkflowSchema")
_PUBLIC: Final = ("getPublicWorkflowSchema",)
_WRITES: Final = ("updateWorkflow", "moveWorkflow", "deleteWorkflow")
_EXECUTIONS: Final = ("getExecution", "cancelExecution")
_THEIRS: Final = {"exists": True, "owner": applies.SOMEBODY}
_WHOSE: Final = {"because": "it is somebody else's", "otherwise": "it is its own", "implies": _THEIRS}


# --- who sends it


def _of_key(name: str, because: str, decides: Decision, fact: str = "", **more: Any) -> Reason:  # noqa: ANN401
    given = {"admits": admission.of_key, "has_any_code": "codes" not in more, **more}
    return row(f"authentication.{name}", fact or f"auth.{name}-is-401", 401, because, decides, **given)


MISSING_KEY = _of_key("missing-key", "no key was sent", applies.is_sent("missing"))
EMPTY_KEY = _of_key("empty-key", "the key is empty", applies.is_sent("empty"))
MALFORMED_KEY = _of_key("malformed-key", "the key is malformed", applies.is_sent("malformed"))
UNKNOWN_KEY = _of_key("unknown-key", "the key is unknown", applies.is_sent("unknown"))
ALTERED_KEY = _of_key("altered-key", "the key is a valid one, altered", applies.is_sent("altered"))
BEARER = _of_key(
    "bearer", "the key was sent as Bearer", applies.is_sent("bearer"), "auth.bearer-is-not-accepted"
)
KEY_IN_QUERY = _of_key(
    "key-in-query", "the key was in the query", applies.is_sent("query"), "auth.query-key-is-not-accepted"
)
REVOKED_KEY = _of_key(
    "revoked-key", "the key is revoked", applies.is_in_state("revoked"), otherwise="the key works"
)
LEGACY_KEY = _of_key(
    "legacy-key",
    "the key was made before May 2026",
    applies.is_in_state("legacy"),
    "auth.legacy-key-is-401-retired",
    codes=("LEGACY_KEY_RETIRED",),
)
UNAPPROVED_ACCOUNT = _of_key(
    "unapproved-account", "the account is not approved", applies.is_in_state("unapproved")
)
OF_KEYS: Final = (
    *(MISSING_KEY, EMPTY_KEY, MALFORMED_KEY, UNKNOWN_KEY, ALTERED_KEY),
    *(REVOKED_KEY, LEGACY_KEY, UNAPPROVED_ACCOUNT, BEARER, KEY_IN_QUERY),
)
SESSION_ONLY = row(
    "authentication.session-only-path",
    "auth.session-paths-refuse-keys",
    (401, 403, 404),
    "the path is for browser sessions only",
    lambda asked, _: asked.is_session_only,
    status_fact="auth.session-path-status",
    has_any_code=True,
)
TIER_WITHOUT_KEYS = open_row(
    "the account's tier may hold no key", (401, 403), applies.may_hold_no_key, is_told_to_all=True
)
CAPABILITY = Reason(
    id="capabilities.denied",
    because="the key lacks the capability",
    otherwise="the key holds what is required",
    facts=(
        *("capability.missing-is-403-denied", "capability.orthogonal"),
        *("capability.wildcard-stays-in-resource", "capability.bound-form-is-exact"),
        *("capability.bound-form-only-runs", "capability.denied-names-required"),
    ),
    statuses=(403,),
    codes=("CAPABILITY_DENIED",),
    admits=admission.of_capabilities,
    decides=applies.lacks_capability,
)
MODEL_RUN_UNDER_BUSINESS = row(
    "envelopes.model-run-under-business",
    "model.run-under-business-is-403",
    403,
    "the account is below business",
    applies.is_below_business,
    on=("runModel",),
    has_any_code=True,
    admits=admission.of_capabilities,
)
MODEL_ABOVE_TIER = row(
    "envelopes.model-above-tier",
    "model.above-tier-is-403",
    403,
    "the model is above the account's tier",
    applies.is_above_tier,
    otherwise="the account's tier suffices",
    on=("runModel",),
    codes=("MODEL_TIER_REQUIRED",),
    admits=admission.of_tier,
)


# --- what it names


def _not_found(name: str, fact: str, *on: str, **more: Any) -> Reason:  # noqa: ANN401
    nowhere = {
        "because": "nothing has this name",
        "otherwise": "what it names exists",
        "implies": {"exists": False},
    }
    given = {
        "statuses": (404,),
        "decides": applies.is_nowhere,
        "admits": admission.of_owner,
        **nowhere,
        **more,
    }
    return Reason(id=name, facts=(fact,), on=on, **given)


UNKNOWN_WORKFLOW = _not_found(
    "envelopes.unknown-workflow", "workflows.unknown-is-404", "getWorkflow", *_WRITES
)
UNKNOWN_SCHEMA = _not_found(
    "envelopes.unknown-schema", "schema.unknown-is-404", "getWorkflowSchema", *_PUBLIC
)
RUN_UNKNOWN_WORKFLOW = _not_found(
    "envelopes.run-unknown-workflow", "run.unknown-workflow-is-404", "runWorkflow"
)
DELETED_WORKFLOW = _not_found(
    "workflows.gone",
    "workflows.delete-then-404",
    *("runWorkflow", *_READS, *_PUBLIC, *_WRITES),
    because="the workflow was deleted",
    otherwise="",
    implies={"exists": False, "is_deleted": True},
    decides=lambda asked, known: (
        asked.is_well_named and not known.resource.exists and known.resource.is_deleted
    ),
)
PRIVATE_PUBLIC_SCHEMA = _not_found(
    "envelopes.private-public-schema",
    "schema.public-only-when-public",
    *_PUBLIC,
    because="the workflow is not public",
    otherwise="the workflow is public",
    implies={"exists": True, "is_public": False},
    decides=applies.is_private,
    admits=admission.of_public_schema,
)
RUN_FOREIGN_WORKFLOW = _not_found(
    "envelopes.run-foreign-workflow",
    "run.foreign-workflow-is-404",
    "runWorkflow",
    **_WHOSE,
    decides=applies.is_foreign_and_private,
)
READ_FOREIGN_WORKFLOW = _not_found(
    "envelopes.read-foreign-workflow",
    "workflows.foreign-private-read-is-refused",
    *_READS,
    **_WHOSE,
    statuses=(403, 404),
    decides=applies.is_foreign_and_private,
)
WRITE_FOREIGN_WORKFLOW = _not_found(
    "envelopes.write-foreign-workflow",
    "workflows.foreign-write-is-refused",
    *_WRITES,
    **_WHOSE,
    statuses=(403, 404),
    status_fact="workflows.foreign-write-status",
    decides=applies.is_foreign_to(admin=False),
)
WRITE_BY_ADMIN = _not_found(
    "workflows.admin-write",
    "workflows.admin-does-not-own",
    *_WRITES,
    **{**_WHOSE, "because": "it is somebody else's, also for an administrator", "otherwise": ""},
    statuses=(403, 404),
    status_fact="workflows.foreign-write-status",
    decides=applies.is_foreign_to(admin=True),
)
UNKNOWN_EXECUTION = _not_found("envelopes.unknown-execution", "execution.unknown-is-404", *_EXECUTIONS)
FOREIGN_EXECUTION = _not_found(
    "envelopes.foreign-execution",
    "execution.foreign-is-404",
    *_EXECUTIONS,
    **_WHOSE,
    decides=applies.is_foreign,
)
EXECUTION_ID = open_row(
    "the id is not a UUID",
    (400, 404, 422),
    open_if(lambda asked: not all(map(_UUID.fullmatch, (asked.path_values or {"": ""}).values()))),
    on=_EXECUTIONS,
    is_told_to_all=True,
)
UNKNOWN_MODEL = _not_found(
    "envelopes.unknown-model", "model.unknown-is-404", "runModel", codes=("MODEL_NOT_FOUND",)
)
DISABLED_MODEL = _not_found(
    "envelopes.disabled-model",
    "model.disabled-is-404",
    "runModel",
    codes=("MODEL_NOT_FOUND",),
    because="the model is disabled",
    otherwise="",
    implies={"exists": True, "is_disabled": True},
    decides=lambda _, known: known.resource.exists is not False and known.resource.is_disabled,
)


# --- what it sends


def _of_run(
    name: str,
    fact: str,
    code: str | tuple[str, ...],
    because: str,
    decides: Decision,
    **more: Any,  # noqa: ANN401 - each attribute has its own type
) -> Reason:
    codes = code if isinstance(code, tuple) else (code,)
    given = {"codes": codes, "on": _RUNS, "admits": admission.of_capabilities, "is_told_to_all": True, **more}
    return row(name, fact, 400, because, decides, **given)


ASYNC_NOT_SUPPORTED = _of_run(
    "envelopes.async-not-supported",
    "model.async-not-supported-is-400",
    "ASYNC_NOT_SUPPORTED",
    "the model is not polled",
    applies.is_not_polled,
    otherwise="it can run asynchronously",
    implies={"exists": True, "is_polled": False},
    is_told_to_all=False,
)
MALFORMED_SLUG = _of_run(
    "validation.malformed-slug",
    "run.bad-slug-is-invalid-slug",
    "INVALID_SLUG",
    "the name has invalid characters",
    lambda asked, _: None if asked.path_values is None else not asked.is_well_named,
    otherwise="the name has valid characters",
)
BODY_NOT_JSON = _of_run(
    "validation.body-not-json",
    "run.body-not-json-is-invalid-body",
    "INVALID_BODY",
    "the body is not JSON",
    in_body(lambda sent: sent is NOT_JSON),
    otherwise="the body is JSON",
)
BODY_NO_OBJECT = _of_run(
    "validation.body-no-object",
    "run.body-no-object",
    ("INVALID_BODY", "INVALID_INPUTS"),
    "the body is not an object",
    in_body(lambda sent: sent is not NOT_JSON and not is_object(sent)),
)
INPUTS_MISSING = _of_run(
    "validation.inputs-missing",
    "run.inputs-missing-is-invalid-inputs",
    "INVALID_INPUTS",
    "inputs are missing",
    in_body(lambda sent: is_object(sent) and "inputs" not in sent),
)
INPUTS_NOT_OBJECT = _of_run(
    "validation.inputs-not-object",
    "run.inputs-not-object-is-invalid-inputs",
    "INVALID_INPUTS",
    "inputs are not an object",
    in_body(lambda sent: is_object(sent) and not is_object(sent.get("inputs", {}))),
    otherwise="inputs are an object",
)
OTHER_INPUTS = open_row(
    "inputs may have another type or name than the schema's",
    (400, 422),
    applies.may_have_other_inputs,
    on=_RUNS,
    codes=("INVALID_INPUTS",),
)


def _of_document(name: str, fact: str, because: str, decides: Decision, on: str, **more: Any) -> Reason:  # noqa: ANN401
    given = {"on": (on,), "has_any_code": True, "is_told_to_all": True, **more}
    return row(name, fact, OF_INPUT, because, decides, **given)


CREATE_WITHOUT_NAME = _of_document(
    "validation.create-without-name",
    "workflows.create-requires-name",
    "the name is missing",
    in_body(applies.is_nameless),
    "createWorkflow",
)
MISSHAPEN_CREATE = _of_document(
    "validation.misshapen-create",
    "workflows.create-refusal-status",
    "the document is misshapen, or beyond what the server takes",
    in_body(applies.is_misshapen),
    "createWorkflow",
    otherwise="the document is ordinary",
    admits=admission.of_create,
)
MISSHAPEN_UPDATE = _of_document(
    "",
    "",
    "the document is misshapen, or beyond what the server takes",
    in_body(lambda sent: False if sent and applies.is_ordinary(sent) and "name" not in sent else None),
    "updateWorkflow",
    otherwise="the document is ordinary",
    statuses=tuple(each for each in OF_INPUT if each != 404),
    admits=admission.of_update,
)
MISSHAPEN_MOVE = _of_document(
    "validation.misshapen-move",
    "workflows.move-body",
    "a usable folderId is missing",
    in_body(lambda sent: not is_object(sent) or not isinstance(sent.get("folderId", 0), str | None)),
    "moveWorkflow",
)
UNKNOWN_FOLDER = open_row(
    "the folder may not exist",
    REFUSALS,
    open_if(
        lambda asked: (
            asked.sent is EXTREME or (is_object(asked.sent) and isinstance(asked.sent.get("folderId"), str))
        )
    ),
    on=("moveWorkflow",),
)
MISNAMED_ELSEWHERE = open_row(
    "the name has invalid characters",
    (400, 404, 422),
    open_if(lambda asked: not asked.is_well_named),
    on=(*_READS, *_PUBLIC, *_WRITES),
    is_told_to_all=True,
)
GARBLED_QUERY = open_row(
    "the query may be garbled",
    (400, 422),
    open_if(lambda asked: asked.query and (not asked.is_run or asked.query != {"async": "true"})),
    otherwise="the query is empty",
    is_told_to_all=True,
)
OTHER_TYPE = open_row(
    "the body is not declared as JSON",
    (400, 415, 422),
    open_if(applies.has_other_type),
    is_told_to_all=True,
    admits=admission.of_type,
)
OVERSIZED = row(
    "envelopes.oversized-body",
    "ground.oversized-body-is-413-or-400",
    (413, 400),
    "the request may be too large",
    open_if(lambda asked: len(asked.body or b"") > _SMALL_BYTES),
    has_any_code=True,
    is_told_to_all=True,
)


# --- what it costs, and when it comes


def _of_funds(name: str, funds: str, code: str, because: str) -> Reason:
    given = {"on": _RUNS, "codes": (code,), "admits": admission.of_capabilities}
    fact, decides = f"run.{name}-is-402", applies.is_unpaid(funds)
    return row(f"envelopes.{name}", fact, 402, because, decides, **given)


TOO_FEW_CREDITS = _of_funds(
    "too-few-credits", "none", "INSUFFICIENT_CREDITS", "the account has too few credits"
)
EXHAUSTED_GRANT = _of_funds("exhausted-grant", "exhausted", "grant_exhausted", "the trial grant is used up")
SECOND_OF_FREE_ACCOUNT = row(
    "workflows.second-of-free-account",
    "workflows.free-capped-at-one",
    (402, 403, 409),
    "the free account has a workflow",
    lambda _, known: both(None if known.tier is None else known.tier == "free", known.has_workflow),
    otherwise="the tier may create workflows",
    on=("createWorkflow",),
    status_fact="workflows.free-cap-status",
    admits=admission.of_create,
)
PROVIDER_FAILURE = row(
    "envelopes.provider-failure",
    "run.provider-failure-is-500",
    500,
    "its provider may fail",
    lambda asked, known: True if known.resource.fails and not asked.is_async else None,
    on=_RUNS,
    codes=("EXECUTION_FAILED",),
    comes_last=True,
)
EXECUTION_ENDED = open_row(
    "the execution may have ended",
    (400, 409),
    applies.has_ended,
    status_fact="execution.cancel-after-end",
    on=("cancelExecution",),
    has_any_code=False,
    lets_pass=True,
    comes_last=True,
)
AT_THE_SAME_TIME = open_row(
    "it may be written at the same time",
    (409, 412, 423),
    always_open,
    on=(*_WRITES, "cancelExecution"),
    has_any_code=False,
)
OVER_LIMIT = row(
    "envelopes.over-limit",
    "rate.over-limit-is-429",
    429,
    "the rate-limit window may be full",
    always_open,
    codes=("RATE_LIMIT_EXCEEDED",),
    is_told_to_all=True,
)


def _of_route(name: str, fact: str, because: str, *statuses: int) -> Reason:
    return row(name, fact, statuses, because, applies.is_elsewhere, is_told_to_all=True)


UNKNOWN_ROUTE = _of_route(
    "envelopes.unknown-route", "ground.unknown-route-is-404", "the route may be unknown", 404
)
WRONG_METHOD = _of_route(
    "envelopes.wrong-method",
    "ground.wrong-method-is-404-or-405",
    "the path may not have this method",
    404,
    405,
)

REASONS: Final = tuple(each for each in list(vars().values()) if isinstance(each, Reason))
"""Every reason, from the sender to the route; the order has no meaning for a server."""
