"""The documented reasons to refuse a request: one table, in the words of the contract.

Each row says when its reason applies (True, False, or None if that is unknown), and what a refusal for it
looks like. Unknown is never no: what the profile, the request or earlier answers do not settle, a server may
decide. The order in which it looks at reasons is its own, except that what a key may do and see is decided
after the key itself (``auth.before-capability``, ``auth.refusal-tells-nothing``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from knouds_harness.contract.capabilities import EVERYTHING, LIMIT_BY_TIER, UNLIMITED, WITHOUT_KEYS
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.rule import admission
from knouds_harness.judging.rule.admission import Admission
from knouds_harness.judging.rule.asked import EXTREME, NOT_JSON, AskedRequest, Known
from knouds_harness.targets.needs import keys, runs, workflows
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW

Applies = Callable[[AskedRequest, Known], bool | None]

DOCUMENTED_CODES: Final = frozenset(
    {
        *("INVALID_BODY", "INVALID_INPUTS", "INVALID_SLUG", "ASYNC_NOT_SUPPORTED", "LEGACY_KEY_RETIRED"),
        *("INSUFFICIENT_CREDITS", "grant_exhausted", "CAPABILITY_DENIED", "MODEL_TIER_REQUIRED"),
        *("MODEL_NOT_FOUND", "RATE_LIMIT_EXCEEDED", "EXECUTION_FAILED"),
    }
)
"""The codes that a source names; each belongs to its reasons. A server may spell all others as it likes."""
_RUNS = ("runWorkflow", "runModel")
_READS = ("getWorkflow", "getWorkflowSchema")
_WRITES = ("updateWorkflow", "moveWorkflow", "deleteWorkflow")
_EXECUTIONS = ("getExecution", "cancelExecution")
_WORKFLOWS = ("runWorkflow", *_READS, "getPublicWorkflowSchema", *_WRITES)
_DOCUMENTS = ("createWorkflow", "updateWorkflow")
_TIERS = (*sorted(WITHOUT_KEYS), *LIMIT_BY_TIER, UNLIMITED)  # from the lowest
_REFUSALS: Final = frozenset(range(400, 500)) - {401, 402, 429}
_OF_INPUT: Final = _REFUSALS - {403}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SMALL_BYTES: Final = 4096
"""Every server takes bodies of this length; how much more it takes is its own."""
_SHORT: Final = 200
"""Every server takes texts of this length."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reason:
    """One documented reason to refuse.

    Attributes:
        id: Of the check that judges it, ``family.name``; empty if no source promises the refusal.
        says: The promise in one sentence.
        because: What is so if it applies, in a few words.
        otherwise: What is so if it does not.
        fact: Promises the refusal; for a denied capability, ``facts`` and ``fact_of`` do.
        statuses: Of such a refusal. Documented, or assumed if ``fact`` or ``status_fact`` is.
        status_fact: The assumed fact about the status, if ``fact`` promises only a refusal.
        codes: The documented codes of such a refusal, any of them; empty if no source names one.
        has_any_code: Whether it may have a code of another reason.
        on: The operations that it is about; empty for all.
        is_told_to_all: Whether it may be told without a valid key.
        implies: What it says of the resource, if the sender knows that it applies.
        lets_pass: Whether a success is legal even if it applies.
        comes_last: Whether it shows only once nothing else refuses the request.
        admits: What is broken by a refusal for it that does not apply.
        needs: What the profile must offer to show it.
        decides: Whether it applies.
    """

    id: str = ""
    says: str = ""
    because: str
    otherwise: str = ""
    fact: str = ""
    statuses: tuple[int, ...]
    status_fact: str = ""
    codes: tuple[str, ...] = ()
    has_any_code: bool = False
    on: tuple[str, ...] = ()
    is_told_to_all: bool = False
    implies: Mapping[str, Any] = field(default_factory=dict)
    lets_pass: bool = False
    comes_last: bool = False
    admits: Callable[[AskedRequest, Known], Admission] | None = None
    needs: tuple[Need[object], ...] = ()
    facts: tuple[str, ...] = ()
    decides: Applies = field(repr=False)

    @property
    def is_of_key(self) -> bool:
        """Whether it is about the key itself."""
        return self.id.startswith("authentication.") and self is not SESSION_ONLY

    def concerns(self, asked: AskedRequest) -> bool:
        """Return whether it may be a reason to refuse a request to this operation."""
        return not self.on or asked.operation_id in self.on

    def applies(self, asked: AskedRequest, known: Known) -> bool | None:
        """Return whether it applies: True, False, or None if that is unknown."""
        return True if self.id and self.id in known.asserted else self.decides(asked, known)

    def has_status(self, exchange: Exchange) -> bool:
        """Return whether the status is that of a refusal for this reason; any 4xx if it is only assumed."""
        wider = () if not self.status_fact else _REFUSALS if self.on != _DOCUMENTS else _OF_INPUT
        return exchange.status in self.statuses or exchange.status in wider

    def has_code(self, exchange: Exchange) -> bool:
        """Return whether the code is that of a refusal for this reason."""
        if self.codes:
            return exchange.code in self.codes
        return self.has_any_code or exchange.code not in DOCUMENTED_CODES

    def fits(self, exchange: Exchange) -> bool:
        """Return whether a refusal looks like one for this reason."""
        return self.has_status(exchange) and self.has_code(exchange)

    def may_explain(self, exchange: Exchange) -> bool:
        """Return whether a refusal may be one for this reason, with a code that no source names."""
        return self.has_status(exchange) and (
            self.has_code(exchange) or exchange.code not in DOCUMENTED_CODES
        )


def _both(*parts: bool | None) -> bool | None:
    return False if False in parts else None if None in parts else True


# --- who sends it


def _is_sent(how: str, asked: AskedRequest, _: Known) -> bool | None:
    if not asked.is_secured:
        return False
    return None if asked.key == "" else asked.key == how


def _is_in_state(state: str, asked: AskedRequest, known: Known) -> bool | None:
    if not asked.is_secured or asked.key not in ("", "known"):
        return False
    return None if known.state is None else known.state == state


def _of_key(name: str, says: str, because: str, decides: Applies, fact: str = "", **more: object) -> Reason:
    return Reason(
        id=f"authentication.{name}",
        says=says,
        because=because,
        otherwise="the key works" if name == "revoked-key" else "",
        fact=fact or f"auth.{name}-is-401",
        statuses=(401,),
        has_any_code="codes" not in more,
        admits=admission.of_key,
        decides=decides,
        **more,  # type: ignore[arg-type]
    )


MISSING_KEY = _of_key(
    "missing-key", "A request without a key is refused.", "no key was sent", partial(_is_sent, "missing")
)
EMPTY_KEY = _of_key("empty-key", "An empty key is refused.", "the key is empty", partial(_is_sent, "empty"))
MALFORMED_KEY = _of_key(
    "malformed-key", "A malformed key is refused.", "the key is malformed", partial(_is_sent, "malformed")
)
UNKNOWN_KEY = _of_key(
    "unknown-key",
    "A well-formed unknown key is refused, before its capabilities are looked at.",
    "the key is unknown",
    partial(_is_sent, "unknown"),
)
ALTERED_KEY = _of_key(
    "altered-key",
    "A valid key in another case, shortened or lengthened, is refused.",
    "the key is a valid one, altered",
    partial(_is_sent, "altered"),
    needs=(keys.ANY_KEY,),
)
BEARER = _of_key(
    "bearer",
    "A key in Authorization: Bearer does not authenticate.",
    "the key was sent as Authorization: Bearer",
    partial(_is_sent, "bearer"),
    "auth.bearer-is-not-accepted",
    needs=(keys.ANY_KEY,),
)
KEY_IN_QUERY = _of_key(
    "key-in-query",
    "A key in the query string does not authenticate.",
    "the key was sent in the query",
    partial(_is_sent, "query"),
    "auth.query-key-is-not-accepted",
    needs=(keys.ANY_KEY,),
)
REVOKED_KEY = _of_key(
    "revoked-key",
    "A revoked key is refused.",
    "the key is revoked",
    partial(_is_in_state, "revoked"),
    needs=(keys.REVOKED_KEY,),
)
LEGACY_KEY = _of_key(
    "legacy-key",
    "A key made before May 2026 is refused as retired.",
    "the key was made before May 2026",
    partial(_is_in_state, "legacy"),
    "auth.legacy-key-is-401-retired",
    codes=("LEGACY_KEY_RETIRED",),
    needs=(keys.LEGACY_KEY,),
)
UNAPPROVED_ACCOUNT = _of_key(
    "unapproved-account",
    "A valid key of an account not yet approved is refused.",
    "the account is not approved",
    partial(_is_in_state, "unapproved"),
    needs=(keys.UNAPPROVED_KEY,),
)
OF_KEYS: Final = (
    MISSING_KEY,
    EMPTY_KEY,
    MALFORMED_KEY,
    UNKNOWN_KEY,
    ALTERED_KEY,
    REVOKED_KEY,
    LEGACY_KEY,
    UNAPPROVED_ACCOUNT,
    BEARER,
    KEY_IN_QUERY,
)
SESSION_ONLY = Reason(
    id="authentication.session-only-path",
    says="A session-only path refuses every key.",
    because="the path is for browser sessions only",
    fact="auth.session-paths-refuse-keys",
    statuses=(401, 403, 404),
    status_fact="auth.session-path-status",
    has_any_code=True,
    needs=(keys.ANY_KEY,),
    decides=lambda asked, _: asked.is_session_only,
)
TIER_WITHOUT_KEYS = Reason(
    because="the account's tier may hold no key",
    statuses=(401, 403),
    has_any_code=True,
    is_told_to_all=True,
    decides=lambda asked, known: (
        None
        if asked.is_secured
        and known.tier in WITHOUT_KEYS
        and known.role != "admin"
        and not (known.has_workflow and asked.operation_id == "createWorkflow")  # which it has made before
        else False
    ),
)


# --- what the key may do


def _lacks_capability(asked: AskedRequest, known: Known) -> bool | None:
    if asked.operation is None or not asked.operation.alternatives:
        return False
    if (
        known.held is None
        or asked.path_values is None
        or (EVERYTHING in known.held and known.role != "admin")
    ):
        return None
    return not asked.operation.admits(known.held, asked.path_values)


def _is_below_business(_: AskedRequest, known: Known) -> bool | None:
    if known.role == "admin" or known.tier in ("business", UNLIMITED):
        return False
    return True if known.tier == "pro" else None  # what a key of a lower tier gets is open


def _is_above_tier(asked: AskedRequest, known: Known) -> bool | None:
    needed, tier = known.resource.needs_tier, known.tier
    if known.role == "admin" or _is_below_business(asked, known):  # that has a fact of its own
        return False
    if needed not in _TIERS or tier not in _TIERS:
        return False if tier == UNLIMITED else None
    if _TIERS.index(tier) < _TIERS.index(needed):
        return True
    return False if tier == UNLIMITED else None  # profiles name a tier only where it is higher


CAPABILITY = Reason(
    id="capabilities.denied",
    says="A key without what the operation requires is refused, and told which capability would suffice.",
    because="the key lacks the capability",
    otherwise="the key holds what is required",
    statuses=(403,),
    codes=("CAPABILITY_DENIED",),
    facts=(
        "capability.missing-is-403-denied",
        "capability.orthogonal",
        "capability.wildcard-stays-in-resource",
        "capability.bound-form-is-exact",
        "capability.bound-form-only-runs",
        "capability.denied-names-required",
    ),
    admits=admission.of_capabilities,
    needs=(keys.ANY_KEY,),
    decides=_lacks_capability,
)
MODEL_RUN_UNDER_BUSINESS = Reason(
    id="envelopes.model-run-under-business",
    says="A model run of an account below business is a 403.",
    because="the account is below business",
    fact="model.run-under-business-is-403",
    statuses=(403,),
    has_any_code=True,
    on=("runModel",),
    admits=admission.of_capabilities,
    needs=(runs.PRO_MODEL_RUN,),
    decides=_is_below_business,
)
MODEL_ABOVE_TIER = Reason(
    id="envelopes.model-above-tier",
    says="A model above the account's tier is a 403 MODEL_TIER_REQUIRED.",
    because="the model is above the account's tier",
    otherwise="the account's tier suffices",
    fact="model.above-tier-is-403",
    statuses=(403,),
    codes=("MODEL_TIER_REQUIRED",),
    on=("runModel",),
    admits=admission.of_tier,
    needs=(runs.ENTERPRISE_MODEL,),
    decides=_is_above_tier,
)


# --- what it names


SOMEBODY: Final = "somebody else"
"""Owns what the sender knows to be foreign, if it does not say whose it is."""
_FOREIGN: Final = MappingProxyType({"exists": True, "owner": SOMEBODY})


def _is_foreign(asked: AskedRequest, known: Known) -> bool | None:
    found = known.resource
    if found.exists is False or found.is_deleted or not asked.is_well_named:
        return False
    if found.owner is None or (known.user is None and found.owner != SOMEBODY):
        return None
    return found.owner != known.user


def _is_foreign_and_private(asked: AskedRequest, known: Known) -> bool | None:
    is_foreign, found = _is_foreign(asked, known), known.resource
    if is_foreign is not True:
        return is_foreign
    is_private = found.is_public is not True and found.is_template is False
    return True if is_private else None  # whether a template, or what is public, can be read or run is open


def _is_nowhere(asked: AskedRequest, known: Known) -> bool | None:
    found = known.resource
    if found.is_deleted or not asked.is_well_named:
        return False
    return None if found.exists is None else not found.exists


def _is_private(asked: AskedRequest, known: Known) -> bool | None:
    found = known.resource
    if found.exists is False or found.is_deleted or not asked.is_well_named:
        return False
    return None if found.is_public is None else not found.is_public


def _not_found(name: str, says: str, fact: str, *on: str, **more: object) -> Reason:
    given: dict[str, object] = {
        "because": "nothing has this name",
        "otherwise": "what it names exists",
        "statuses": (404,),
        "decides": _is_nowhere,
        "implies": {"exists": "because" in more},
        "admits": admission.of_owner,
        **more,
    }
    return Reason(id=name, says=says, fact=fact, on=on, **given)  # type: ignore[arg-type]


UNKNOWN_WORKFLOW = _not_found(
    "envelopes.unknown-workflow",
    "An unknown slug is a 404 on read and write.",
    "workflows.unknown-is-404",
    *("getWorkflow", *_WRITES),
)
UNKNOWN_SCHEMA = _not_found(
    "envelopes.unknown-schema",
    "The schema of an unknown slug is a 404.",
    "schema.unknown-is-404",
    *("getWorkflowSchema", "getPublicWorkflowSchema"),
)
PRIVATE_PUBLIC_SCHEMA = _not_found(
    "envelopes.private-public-schema",
    "The public schema of a private workflow is a 404.",
    "schema.public-only-when-public",
    "getPublicWorkflowSchema",
    because="the workflow is not public",
    otherwise="the workflow is public",
    decides=_is_private,
    admits=admission.of_public_schema,
    needs=(workflows.PRIVATE_WORKFLOW,),
)
RUN_UNKNOWN_WORKFLOW = _not_found(
    "envelopes.run-unknown-workflow",
    "Running an unknown workflow is a 404.",
    "run.unknown-workflow-is-404",
    "runWorkflow",
    needs=(keys.WORKFLOW_RUNNER,),
)
DELETED_WORKFLOW = _not_found(
    "workflows.gone",
    "Every operation on a deleted workflow is a 404.",
    "workflows.delete-then-404",
    *_WORKFLOWS,
    because="the workflow was deleted",
    otherwise="",
    implies={"exists": False, "is_deleted": True},
    decides=lambda _, known: known.resource.is_deleted if known.resource.exists is not True else False,
    needs=(keys.AUTHOR,),
)
RUN_FOREIGN_WORKFLOW = _not_found(
    "envelopes.run-foreign-workflow",
    "Running someone else's private workflow is a 404.",
    "run.foreign-workflow-is-404",
    "runWorkflow",
    implies=_FOREIGN,
    because="the workflow is somebody else's",
    otherwise="the workflow is its own",
    decides=_is_foreign_and_private,
    needs=(workflows.FOREIGN_WORKFLOW_RUN,),
)
READ_FOREIGN_WORKFLOW = _not_found(
    "envelopes.read-foreign-workflow",
    "Someone else's private workflow cannot be read.",
    "workflows.foreign-private-read-is-refused",
    *_READS,
    statuses=(403, 404),
    implies=_FOREIGN,
    because="the workflow is somebody else's",
    otherwise="the workflow is its own",
    decides=_is_foreign_and_private,
    needs=(workflows.FOREIGN_WORKFLOW,),
)
WRITE_FOREIGN_WORKFLOW = _not_found(
    "envelopes.write-foreign-workflow",
    "Someone else's workflow cannot be written.",
    "workflows.foreign-write-is-refused",
    *_WRITES,
    statuses=(403, 404),
    status_fact="workflows.foreign-write-status",
    implies=_FOREIGN,
    because="the workflow is somebody else's",
    otherwise="the workflow is its own",
    decides=lambda asked, known: _is_foreign(asked, known) if known.role != "admin" else False,
    needs=(keys.TWO_AUTHORS,),
)
WRITE_BY_ADMIN = _not_found(
    "workflows.admin-write",
    "An administrator's write to someone else's workflow is refused.",
    "workflows.admin-does-not-own",
    *_WRITES,
    statuses=(403, 404),
    status_fact="workflows.foreign-write-status",
    implies=_FOREIGN,
    because="the workflow is somebody else's, also for an administrator",
    otherwise="",
    decides=lambda asked, known: _both(
        None if known.role is None else known.role == "admin", _is_foreign(asked, known)
    ),
    needs=(keys.AUTHOR, keys.ADMIN_KEY),
)
UNKNOWN_EXECUTION = _not_found(
    "envelopes.unknown-execution", "An unknown execution is a 404.", "execution.unknown-is-404", *_EXECUTIONS
)
FOREIGN_EXECUTION = _not_found(
    "envelopes.foreign-execution",
    "Someone else's execution is a 404.",
    "execution.foreign-is-404",
    *_EXECUTIONS,
    implies=_FOREIGN,
    because="the execution is somebody else's",
    otherwise="the execution is its own",
    decides=_is_foreign,
)
EXECUTION_ID = Reason(
    because="the id is not a UUID",
    statuses=(400, 404, 422),
    on=_EXECUTIONS,
    has_any_code=True,
    is_told_to_all=True,
    decides=lambda asked, _: (
        False if all(map(_UUID.fullmatch, (asked.path_values or {"": ""}).values())) else None
    ),
)
UNKNOWN_MODEL = _not_found(
    "envelopes.unknown-model",
    "An unknown model is a 404 MODEL_NOT_FOUND.",
    "model.unknown-is-404",
    "runModel",
    codes=("MODEL_NOT_FOUND",),
    otherwise="the model exists",
    needs=(keys.MODEL_RUNNER,),
)
DISABLED_MODEL = _not_found(
    "envelopes.disabled-model",
    "A disabled model is a 404 MODEL_NOT_FOUND.",
    "model.disabled-is-404",
    "runModel",
    codes=("MODEL_NOT_FOUND",),
    because="the model is disabled",
    otherwise="",
    decides=lambda _, known: known.resource.is_disabled if known.resource.exists is not False else False,
    needs=(runs.DISABLED_MODEL,),
)


def _is_not_polled(asked: AskedRequest, known: Known) -> bool | None:
    if "async" not in asked.query or known.resource.exists is False or not asked.is_well_named:
        return False
    if not asked.is_async or asked.operation_id == "runWorkflow" or known.resource.is_polled is None:
        return None
    return not known.resource.is_polled


ASYNC_NOT_SUPPORTED = Reason(
    id="envelopes.async-not-supported",
    says="An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED.",
    because="the model is not polled",
    otherwise="it can run asynchronously",
    fact="model.async-not-supported-is-400",
    statuses=(400,),
    codes=("ASYNC_NOT_SUPPORTED",),
    on=_RUNS,
    admits=admission.of_run,
    needs=(runs.UNPOLLED_MODEL,),
    decides=_is_not_polled,
)


# --- what it sends


def _is_misnamed(asked: AskedRequest, _: Known) -> bool | None:
    return None if asked.path_values is None else not asked.is_well_named


def _of_body(decide: Callable[[JSON], bool | None], asked: AskedRequest, _: Known) -> bool | None:
    """Decide by the body, unless correct parsers disagree about it, or it is not declared as JSON."""
    if asked.sent is EXTREME or (asked.sent is not None and not asked.is_json):
        return None
    return decide(asked.sent)


def _body_reason(
    name: str, says: str, fact: str, because: str, decide: Callable[[JSON], bool | None], **more: object
) -> Reason:
    given: dict[str, object] = {"statuses": (400,), "on": _RUNS, "admits": admission.of_run, **more}
    return Reason(
        id=f"validation.{name}",
        says=says,
        fact=fact,
        because=because,
        is_told_to_all=True,
        decides=partial(_of_body, decide),
        **given,  # type: ignore[arg-type]
    )


def _is_object(sent: JSON) -> bool:
    return isinstance(sent, dict)


BODY_NOT_JSON = _body_reason(
    "body-not-json",
    "A run body that is not JSON is a 400 INVALID_BODY.",
    "run.body-not-json-is-invalid-body",
    "the body is not JSON",
    lambda sent: sent is NOT_JSON,
    codes=("INVALID_BODY",),
    otherwise="the body is JSON",
)
BODY_NO_OBJECT = _body_reason(
    "body-no-object",
    "A run body that is JSON but not an object, or is empty, is a 400.",
    "run.body-no-object",
    "the body is not an object",
    lambda sent: sent is not NOT_JSON and not _is_object(sent),
    codes=("INVALID_BODY", "INVALID_INPUTS"),
)
INPUTS_MISSING = _body_reason(
    "inputs-missing",
    "A run without inputs is a 400 INVALID_INPUTS.",
    "run.inputs-missing-is-invalid-inputs",
    "inputs are missing",
    lambda sent: _is_object(sent) and "inputs" not in sent,
    codes=("INVALID_INPUTS",),
)
INPUTS_NOT_OBJECT = _body_reason(
    "inputs-not-object",
    "Inputs that are not an object, an array included, are a 400 INVALID_INPUTS.",
    "run.inputs-not-object-is-invalid-inputs",
    "inputs are not an object",
    lambda sent: _is_object(sent) and "inputs" in sent and not _is_object(sent["inputs"]),
    codes=("INVALID_INPUTS",),
    otherwise="inputs are an object",
)
MALFORMED_SLUG = Reason(
    id="validation.malformed-slug",
    says="A slug or model name with invalid characters is a 400 INVALID_SLUG.",
    fact="run.bad-slug-is-invalid-slug",
    because="the name has invalid characters",
    otherwise="the name has valid characters",
    statuses=(400,),
    codes=("INVALID_SLUG",),
    on=_RUNS,
    is_told_to_all=True,
    admits=admission.of_run,
    decides=_is_misnamed,
)
MISNAMED_ELSEWHERE = Reason(
    because="the name has invalid characters",
    statuses=(400, 404, 422),
    on=(*_READS, "getPublicWorkflowSchema", *_WRITES),
    has_any_code=True,
    is_told_to_all=True,
    decides=lambda asked, known: None if _is_misnamed(asked, known) is not False else False,
)
OTHER_INPUTS = Reason(
    because="inputs may have another type or name than the schema's",
    statuses=(400, 422),
    on=_RUNS,
    codes=("INVALID_INPUTS",),
    decides=lambda asked, known: (
        None if known.resource.exists is not False and asked.is_well_named and _would_start(asked) else False
    ),
)


def _would_start(asked: AskedRequest) -> bool:
    return isinstance(asked.sent, dict) and isinstance(asked.sent.get("inputs"), dict)


def is_ordinary(document: JSON) -> bool:
    """Return whether every server takes a document: few plain words under documented names."""
    if not isinstance(document, dict):
        return False
    words = {name: value for name, value in document.items() if name in ("name", "description")}
    tags, rest = document.get("tags", []), document.keys() - words.keys() - {"tags", "publicPlayground"}
    texts = [*words.values(), *(tags if isinstance(tags, list) else [tags])]
    return (
        not rest
        and isinstance(document.get("publicPlayground", False), bool)
        and len(texts) <= 2 + len(words)
        and all(isinstance(each, str) and len(each) <= _SHORT and each.isprintable() for each in texts)
        and all(each.strip() for each in texts)
    )


def _is_nameless(sent: JSON) -> bool | None:
    name = sent.get("name") if _is_object(sent) else ""
    return _is_object(sent) and (name is None or (isinstance(name, str) and not name.strip()))


def _is_misshapen(sent: JSON) -> bool | None:
    if not _is_object(sent):
        return True
    return False if is_ordinary(sent) or _is_nameless(sent) else None


CREATE_WITHOUT_NAME = _body_reason(
    "create-without-name",
    "Create without a name is refused.",
    "workflows.create-requires-name",
    "the name is missing",
    _is_nameless,
    on=("createWorkflow",),
    statuses=tuple(sorted(_OF_INPUT)),
    has_any_code=True,
    admits=None,
    needs=(keys.WRITER,),
)
MISSHAPEN_CREATE = _body_reason(
    "misshapen-create",
    "A create whose document is misshapen is a 4xx.",
    "workflows.create-refusal-status",
    "the document is misshapen, or beyond what the server takes",
    _is_misshapen,
    on=("createWorkflow",),
    statuses=tuple(sorted(_OF_INPUT)),
    has_any_code=True,
    otherwise="the document is ordinary",
    admits=admission.of_create,
    needs=(keys.WRITER,),
)
MISSHAPEN_UPDATE = Reason(
    because="the document is misshapen, or beyond what the server takes",
    otherwise="the document is ordinary",
    statuses=tuple(sorted(_OF_INPUT - {404})),
    on=("updateWorkflow",),
    has_any_code=True,
    is_told_to_all=True,
    admits=admission.of_update,
    decides=partial(
        _of_body, lambda sent: False if is_ordinary(sent) and sent and "name" not in sent else None
    ),
)
MISSHAPEN_MOVE = _body_reason(
    "misshapen-move",
    "A move without a usable folderId is a 4xx.",
    "workflows.move-body",
    "a usable folderId is missing",
    lambda sent: not _is_object(sent) or not isinstance(sent.get("folderId", 0), str | None),
    on=("moveWorkflow",),
    statuses=tuple(sorted(_OF_INPUT)),
    has_any_code=True,
    admits=None,
    needs=(keys.AUTHOR,),
)
UNKNOWN_FOLDER = Reason(
    because="there may be no such folder",
    statuses=tuple(sorted(_REFUSALS)),
    on=("moveWorkflow",),
    has_any_code=True,
    decides=lambda asked, _: (
        None if not _is_object(asked.sent) or asked.sent.get("folderId") is not None else False
    ),
)
AT_THE_SAME_TIME = Reason(
    because="it may be written at the same time",
    statuses=(409, 412, 423),
    on=(*_WRITES, "cancelExecution"),
    decides=lambda *_: None,
)
GARBLED_QUERY = Reason(
    because="the query may be garbled",
    otherwise="the query is empty",
    statuses=(400, 422),
    has_any_code=True,
    is_told_to_all=True,
    decides=lambda asked, _: (
        None if asked.query and (not asked.is_run or asked.query != {"async": "true"}) else False
    ),
)
OTHER_TYPE = Reason(
    because="the body is not declared as JSON",
    statuses=(400, 415, 422),
    has_any_code=True,
    is_told_to_all=True,
    admits=admission.of_type,
    decides=lambda asked, _: None if asked.body is not None and not asked.is_json else False,
)
OVERSIZED = Reason(
    id="envelopes.oversized-body",
    says="An oversized body is refused.",
    fact="ground.oversized-body-is-413-or-400",
    because="the request may be too large",
    statuses=(413, 400),
    has_any_code=True,
    is_told_to_all=True,
    decides=lambda asked, _: None if len(asked.body or b"") > _SMALL_BYTES else False,
)


# --- what it costs, and when it comes


def _is_unpaid(funds: str, asked: AskedRequest, known: Known) -> bool | None:
    if {TOO_FEW_CREDITS.id, EXHAUSTED_GRANT.id} & known.asserted:
        return False
    if known.funds not in ("none", "exhausted") or known.resource.is_paid is None or not _would_start(asked):
        return None  # others may use the account, and a price is only the most that it costs
    return known.resource.is_paid and known.funds == funds


TOO_FEW_CREDITS = Reason(
    id="envelopes.too-few-credits",
    says="A run without enough credits is a 402 INSUFFICIENT_CREDITS.",
    because="the account has too few credits",
    fact="run.too-few-credits-is-402",
    statuses=(402,),
    codes=("INSUFFICIENT_CREDITS",),
    on=_RUNS,
    admits=admission.of_run,
    needs=(runs.BROKE_RUN,),
    decides=partial(_is_unpaid, "none"),
)
EXHAUSTED_GRANT = Reason(
    id="envelopes.exhausted-grant",
    says="A run on a used-up trial grant is a 402 grant_exhausted.",
    because="the trial grant is used up",
    fact="run.exhausted-grant-is-402",
    statuses=(402,),
    codes=("grant_exhausted",),
    on=_RUNS,
    admits=admission.of_run,
    needs=(runs.EXHAUSTED_RUN,),
    decides=partial(_is_unpaid, "exhausted"),
)
PROVIDER_FAILURE = Reason(
    id="envelopes.provider-failure",
    says="A provider's failure is a 500 EXECUTION_FAILED.",
    because="its provider may fail",
    fact="run.provider-failure-is-500",
    statuses=(500,),
    codes=("EXECUTION_FAILED",),
    on=_RUNS,
    comes_last=True,
    needs=(runs.FAILING_RUN,),
    decides=lambda asked, known: True if known.resource.fails and not asked.is_async else None,
)
OVER_LIMIT = Reason(
    id="envelopes.over-limit",
    says="The first request over the tier's limit is a 429 RATE_LIMIT_EXCEEDED.",
    because="the rate-limit window may be full",
    fact="rate.over-limit-is-429",
    statuses=(429,),
    codes=("RATE_LIMIT_EXCEEDED",),
    is_told_to_all=True,
    needs=(FILLABLE_WINDOW,),
    decides=lambda *_: None,
)
SECOND_OF_FREE_ACCOUNT = Reason(
    id="workflows.second-of-free-account",
    says="A free account that has a workflow may not create another one.",
    because="the free account has a workflow",
    otherwise="the tier may create workflows",
    fact="workflows.free-capped-at-one",
    statuses=(402, 403, 409),
    status_fact="workflows.free-cap-status",
    on=("createWorkflow",),
    admits=admission.of_create,
    needs=(keys.FREE_KEY,),
    decides=lambda _, known: (
        None
        if known.tier is None or (known.tier == "free" and known.has_workflow is None)
        else known.tier == "free" and known.has_workflow
    ),
)
EXECUTION_ENDED = Reason(
    because="the execution may have ended",
    statuses=(400, 409),
    on=("cancelExecution",),
    lets_pass=True,
    comes_last=True,
    decides=lambda asked, known: (
        True
        if known.resource.has_ended
        else False
        if _is_foreign(asked, known) or _is_nowhere(asked, known)
        else None
    ),
)


# --- where it goes

UNKNOWN_ROUTE = Reason(
    id="envelopes.unknown-route",
    says="An unknown route is a 404.",
    because="there may be no such route",
    fact="ground.unknown-route-is-404",
    statuses=(404,),
    is_told_to_all=True,
    decides=lambda asked, _: None if asked.operation is None else False,
)
WRONG_METHOD = Reason(
    id="envelopes.wrong-method",
    says="A method that a path does not have is a 404 or 405.",
    because="the path may not have this method",
    fact="ground.wrong-method-is-404-or-405",
    statuses=(404, 405),
    is_told_to_all=True,
    decides=lambda asked, _: None if asked.operation is None else False,
)

REASONS: Final[tuple[Reason, ...]] = (
    *OF_KEYS,
    SESSION_ONLY,
    TIER_WITHOUT_KEYS,
    CAPABILITY,
    MODEL_RUN_UNDER_BUSINESS,
    MODEL_ABOVE_TIER,
    UNKNOWN_WORKFLOW,
    UNKNOWN_SCHEMA,
    RUN_UNKNOWN_WORKFLOW,
    DELETED_WORKFLOW,
    PRIVATE_PUBLIC_SCHEMA,
    RUN_FOREIGN_WORKFLOW,
    READ_FOREIGN_WORKFLOW,
    WRITE_FOREIGN_WORKFLOW,
    WRITE_BY_ADMIN,
    UNKNOWN_EXECUTION,
    FOREIGN_EXECUTION,
    EXECUTION_ID,
    UNKNOWN_MODEL,
    DISABLED_MODEL,
    ASYNC_NOT_SUPPORTED,
    MALFORMED_SLUG,
    MISNAMED_ELSEWHERE,
    BODY_NOT_JSON,
    BODY_NO_OBJECT,
    INPUTS_MISSING,
    INPUTS_NOT_OBJECT,
    OTHER_INPUTS,
    CREATE_WITHOUT_NAME,
    MISSHAPEN_CREATE,
    MISSHAPEN_UPDATE,
    MISSHAPEN_MOVE,
    UNKNOWN_FOLDER,
    AT_THE_SAME_TIME,
    GARBLED_QUERY,
    OTHER_TYPE,
    OVERSIZED,
    SECOND_OF_FREE_ACCOUNT,
    TOO_FEW_CREDITS,
    EXHAUSTED_GRANT,
    PROVIDER_FAILURE,
    EXECUTION_ENDED,
    OVER_LIMIT,
    UNKNOWN_ROUTE,
    WRONG_METHOD,
)
"""Every reason, from the sender to the route; the order has no meaning for a server."""
