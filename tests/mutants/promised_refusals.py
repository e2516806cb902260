"""How each cause must be refused, written by hand from the sources and independent of ``spec/``."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """How one cause must be refused.

    Attributes:
        facts: A breach may cite any of them.
        status: The documented one; None if the sources leave it open.
        code: The documented one; empty if there is none.
        open: Statuses and codes that another reason may have, which a server may look at first.
    """

    facts: tuple[str, ...]
    status: int | None = None
    code: str = ""
    open: tuple[int | str, ...] = ()


def _refusal(status: int, *facts: str, code: str = "", may_be: tuple[int | str, ...] = ()) -> Refusal:
    return Refusal(facts=facts, status=status, code=code, open=may_be)


_IN_QUERY = (400, 422)  # a server may know no such parameter
_NOT_JSON = _refusal(400, "run.body-not-json-is-invalid-body", code="INVALID_BODY")
_REFUSALS: dict[str, Refusal] = {
    "no-key": _refusal(401, "auth.missing-key-is-401"),
    "empty-key": _refusal(401, "auth.empty-key-is-401"),
    "malformed-key": _refusal(401, "auth.malformed-key-is-401"),
    "unknown-key": _refusal(401, "auth.unknown-key-is-401"),
    "revoked": _refusal(401, "auth.revoked-key-is-401"),
    "unapproved": _refusal(401, "auth.unapproved-account-is-401"),
    "bearer": _refusal(401, "auth.bearer-is-not-accepted"),
    "key-in-query": _refusal(401, "auth.query-key-is-not-accepted", may_be=_IN_QUERY),
    "legacy": _refusal(401, "auth.legacy-key-is-401-retired", code="LEGACY_KEY_RETIRED"),
    "lacks-capability": _refusal(403, "capability.missing-is-403-denied", code="CAPABILITY_DENIED"),
    "async-not-supported": _refusal(
        400, "model.async-not-supported-is-400", code="ASYNC_NOT_SUPPORTED", may_be=("INVALID_INPUTS",)
    ),
    "bad-name": _refusal(400, "run.bad-slug-is-invalid-slug", code="INVALID_SLUG"),
    "inputs-array": _refusal(400, "run.inputs-not-object-is-invalid-inputs", code="INVALID_INPUTS"),
    "no-inputs": _refusal(400, "run.inputs-missing-is-invalid-inputs", code="INVALID_INPUTS"),
    "grant-used-up": _refusal(402, "run.exhausted-grant-is-402", code="grant_exhausted"),
    "no-credits": _refusal(402, "run.too-few-credits-is-402", code="INSUFFICIENT_CREDITS"),
    "above-tier": _refusal(403, "model.above-tier-is-403", code="MODEL_TIER_REQUIRED"),
    "under-business": _refusal(403, "model.run-under-business-is-403"),
    "disabled": _refusal(404, "model.disabled-is-404", code="MODEL_NOT_FOUND"),
    "over-limit": _refusal(429, "rate.over-limit-is-429", code="RATE_LIMIT_EXCEEDED"),
    "provider-failed": _refusal(500, "run.provider-failure-is-500", code="EXECUTION_FAILED"),
    "deleted": _refusal(404, "workflows.delete-then-404"),
    "unknown-slug": _refusal(
        404, "workflows.unknown-is-404", "schema.unknown-is-404", "schema.public-only-when-public"
    ),
    "private": _refusal(404, "schema.public-only-when-public"),
}
_REFUSALS_OF_RUNS: dict[tuple[str, str], Refusal] = {
    ("runModel", "unknown"): _refusal(404, "model.unknown-is-404", code="MODEL_NOT_FOUND"),
    ("runWorkflow", "unknown"): _refusal(404, "run.unknown-workflow-is-404", may_be=(402,)),
    ("runWorkflow", "foreign"): _refusal(404, "run.foreign-workflow-is-404", may_be=(400, 402, 422)),
    ("runModel", "not-json"): _NOT_JSON,
    ("runWorkflow", "not-json"): _NOT_JSON,
    ("getExecution", "unknown"): _refusal(404, "execution.unknown-is-404"),
    ("getExecution", "foreign"): _refusal(404, "execution.foreign-is-404"),
    ("cancelExecution", "unknown"): _refusal(404, "execution.unknown-is-404"),
    ("cancelExecution", "foreign"): _refusal(404, "execution.foreign-is-404"),
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
