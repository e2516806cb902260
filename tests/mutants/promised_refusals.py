"""How each cause must be refused, written by hand from the sources and independent of ``spec/``."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """How one cause must be refused.

    Attributes:
        facts: A breach may cite any of them.
        statuses: The documented ones; empty if the sources leave the status open.
        code: The documented one; empty if there is none.
        open: Statuses and codes that another reason may have, which a server may look at first.
    """

    facts: tuple[str, ...]
    statuses: tuple[int, ...] = ()
    code: str = ""
    open: tuple[int | str, ...] = ()


def _unauthorized(fact: str, *, code: str = "") -> Refusal:
    return Refusal(facts=(fact,), statuses=(401,), code=code)


_INVALID_INPUTS = "INVALID_INPUTS"
_NOT_FOUND_MODEL = "MODEL_NOT_FOUND"
_REFUSALS: dict[str, Refusal] = {
    "no-key": _unauthorized("auth.missing-key-is-401"),
    "empty-key": _unauthorized("auth.empty-key-is-401"),
    "malformed-key": _unauthorized("auth.malformed-key-is-401"),
    "unknown-key": _unauthorized("auth.unknown-key-is-401"),
    "revoked": _unauthorized("auth.revoked-key-is-401"),
    "unapproved": _unauthorized("auth.unapproved-account-is-401"),
    "bearer": _unauthorized("auth.bearer-is-not-accepted"),
    "key-in-query": Refusal(
        facts=("auth.query-key-is-not-accepted",), statuses=(401,), open=(400, 422)
    ),  # a server may know no such parameter
    "legacy": _unauthorized("auth.legacy-key-is-401-retired", code="LEGACY_KEY_RETIRED"),
    "lacks-capability": Refusal(
        facts=("capability.missing-is-403-denied",), statuses=(403,), code="CAPABILITY_DENIED"
    ),
    "async-not-supported": Refusal(
        facts=("model.async-not-supported-is-400",),
        statuses=(400,),
        code="ASYNC_NOT_SUPPORTED",
        open=("INVALID_INPUTS",),
    ),
    "bad-name": Refusal(facts=("run.bad-slug-is-invalid-slug",), statuses=(400,), code="INVALID_SLUG"),
    "inputs-array": Refusal(
        facts=("run.inputs-not-object-is-invalid-inputs",), statuses=(400,), code=_INVALID_INPUTS
    ),
    "no-inputs": Refusal(
        facts=("run.inputs-missing-is-invalid-inputs",), statuses=(400,), code=_INVALID_INPUTS
    ),
    "grant-used-up": Refusal(facts=("run.exhausted-grant-is-402",), statuses=(402,), code="grant_exhausted"),
    "no-credits": Refusal(
        facts=("run.too-few-credits-is-402",), statuses=(402,), code="INSUFFICIENT_CREDITS"
    ),
    "above-tier": Refusal(facts=("model.above-tier-is-403",), statuses=(403,), code="MODEL_TIER_REQUIRED"),
    "under-business": Refusal(facts=("model.run-under-business-is-403",), statuses=(403,)),
    "disabled": Refusal(facts=("model.disabled-is-404",), statuses=(404,), code=_NOT_FOUND_MODEL),
    "over-limit": Refusal(facts=("rate.over-limit-is-429",), statuses=(429,), code="RATE_LIMIT_EXCEEDED"),
    "provider-failed": Refusal(
        facts=("run.provider-failure-is-500",), statuses=(500,), code="EXECUTION_FAILED"
    ),
    "deleted": Refusal(facts=("workflows.delete-then-404",), statuses=(404,)),
    "unknown-slug": Refusal(
        facts=("workflows.unknown-is-404", "schema.unknown-is-404", "schema.public-only-when-public"),
        statuses=(404,),
    ),
    "private": Refusal(facts=("schema.public-only-when-public",), statuses=(404,)),
}
_REFUSALS_OF_RUNS: dict[tuple[str, str], Refusal] = {
    ("runModel", "unknown"): Refusal(facts=("model.unknown-is-404",), statuses=(404,), code=_NOT_FOUND_MODEL),
    ("runWorkflow", "unknown"): Refusal(facts=("run.unknown-workflow-is-404",), statuses=(404,), open=(402,)),
    ("runWorkflow", "foreign"): Refusal(
        facts=("run.foreign-workflow-is-404",), statuses=(404,), open=(400, 402, 422)
    ),
    ("runModel", "not-json"): Refusal(
        facts=("run.body-not-json-is-invalid-body",), statuses=(400,), code="INVALID_BODY"
    ),
    ("runWorkflow", "not-json"): Refusal(
        facts=("run.body-not-json-is-invalid-body",), statuses=(400,), code="INVALID_BODY"
    ),
    ("getExecution", "unknown"): Refusal(facts=("execution.unknown-is-404",), statuses=(404,)),
    ("getExecution", "foreign"): Refusal(facts=("execution.foreign-is-404",), statuses=(404,)),
    ("cancelExecution", "unknown"): Refusal(facts=("execution.unknown-is-404",), statuses=(404,)),
    ("cancelExecution", "foreign"): Refusal(facts=("execution.foreign-is-404",), statuses=(404,)),
}

STATUS_BY_CODE = {
    "INVALID_INPUTS": 400,
    "INVALID_SLUG": 400,
    "INVALID_BODY": 400,
    "ASYNC_NOT_SUPPORTED": 400,
    "LEGACY_KEY_RETIRED": 401,
    "INSUFFICIENT_CREDITS": 402,
    "grant_exhausted": 402,
    "CAPABILITY_DENIED": 403,
    "MODEL_TIER_REQUIRED": 403,
    "MODEL_NOT_FOUND": 404,
    "RATE_LIMIT_EXCEEDED": 429,
    "EXECUTION_FAILED": 500,
}
"""Source: docs, errors; without codes that no API key can provoke."""


def refusal_of(operation: str, outcome: str) -> Refusal:
    """Return what a refusal must have besides its envelope; nothing if the sources leave it open."""
    nothing = Refusal(facts=())
    return _REFUSALS_OF_RUNS.get((operation, outcome)) or _REFUSALS.get(outcome, nothing)
