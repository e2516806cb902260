"""One check for each documented refusal: this cause gets this status and this code."""

from __future__ import annotations

from collections.abc import Iterator

from knouds_harness.conformance.claims import Check, Claim, code_is, status_is
from knouds_harness.conformance.needs import (
    BROKE_KEY,
    BROKE_WORKFLOW,
    BUSINESS_KEY,
    DISABLED_MODEL,
    ENTERPRISE_MODEL,
    EXHAUSTED_KEY,
    EXHAUSTED_WORKFLOW,
    FAILING_WORKFLOW,
    FILLABLE_WINDOW,
    FULL_KEY,
    LIMITED_KEY,
    MAY_CANCEL,
    MAY_RUN,
    MAY_WRITE,
    OWN_PRIVATE_WORKFLOW,
    PRO_MODEL_KEY,
    STRANGER_KEY,
    UNPOLLED_MODEL,
    USABLE_MODEL,
    Need,
)
from knouds_harness.exchange.evidence import Exchange


def _refusal(
    name: str,
    sentence: str,
    *,
    fact: str,
    status: tuple[int, ...],
    code: tuple[str, ...] = (),
    status_fact: str | None = None,
    needs: tuple[Need[object], ...] = (FULL_KEY,),
) -> Check[[]]:
    """A check that one cause is refused as documented.

    ``status_fact`` is the (assumed) fact about the exact status where ``fact`` promises a refusal only.
    """

    def judge(exchange: Exchange) -> Iterator[Claim]:
        if status_fact is None:
            yield status_is(exchange, *status, fact=fact)
        else:
            refused = 400 <= (exchange.status or 0) < 500
            yield Claim(
                fact=fact,
                holds=refused,
                expected="a refusal",
                observed=str(exchange.status or exchange.failure),
            )
            if refused:
                yield status_is(exchange, *status, fact=status_fact)
        if code and exchange.status in status:
            yield code_is(exchange, *code, fact=fact)

    judge.__doc__ = sentence
    facts = (fact,) if status_fact is None else (fact, status_fact)
    return Check(id=f"envelopes.{name}", facts=facts, needs=needs, judge=judge)


UNKNOWN_WORKFLOW = _refusal(
    "unknown-workflow",
    "An unknown slug is a 404 on read and write.",
    fact="workflows.unknown-is-404",
    status=(404,),
)
UNKNOWN_SCHEMA = _refusal(
    "unknown-schema", "The schema of an unknown slug is a 404.", fact="schema.unknown-is-404", status=(404,)
)
PRIVATE_PUBLIC_SCHEMA = _refusal(
    "private-public-schema",
    "The public schema of a private workflow is a 404.",
    fact="schema.public-only-when-public",
    status=(404,),
    needs=(OWN_PRIVATE_WORKFLOW,),
)
RUN_UNKNOWN_WORKFLOW = _refusal(
    "run-unknown-workflow",
    "Running an unknown workflow is a 404.",
    fact="run.unknown-workflow-is-404",
    status=(404,),
    needs=(FULL_KEY, MAY_RUN),
)
RUN_FOREIGN_WORKFLOW = _refusal(
    "run-foreign-workflow",
    "Running someone else's private workflow is a 404.",
    fact="run.foreign-workflow-is-404",
    status=(404,),
    needs=(STRANGER_KEY, OWN_PRIVATE_WORKFLOW, MAY_RUN),
)
READ_FOREIGN_WORKFLOW = _refusal(
    "read-foreign-workflow",
    "Someone else's private workflow cannot be read.",
    fact="workflows.foreign-private-read-is-refused",
    status=(403, 404),
    needs=(STRANGER_KEY, OWN_PRIVATE_WORKFLOW),
)
WRITE_FOREIGN_WORKFLOW = _refusal(
    "write-foreign-workflow",
    "Someone else's workflow cannot be written.",
    fact="workflows.foreign-write-is-refused",
    status=(403, 404),
    status_fact="workflows.foreign-write-status",
    needs=(FULL_KEY, STRANGER_KEY, MAY_WRITE),
)
UNKNOWN_EXECUTION = _refusal(
    "unknown-execution", "An unknown execution is a 404.", fact="execution.unknown-is-404", status=(404,)
)
FOREIGN_EXECUTION = _refusal(
    "foreign-execution",
    "Someone else's execution is a 404.",
    fact="execution.foreign-is-404",
    status=(404,),
    needs=(FULL_KEY, STRANGER_KEY, MAY_RUN, MAY_CANCEL),
)
UNKNOWN_MODEL = _refusal(
    "unknown-model",
    "An unknown model is a 404 MODEL_NOT_FOUND.",
    fact="model.unknown-is-404",
    status=(404,),
    code=("MODEL_NOT_FOUND",),
    needs=(FULL_KEY, MAY_RUN),
)
DISABLED_MODEL_REFUSED = _refusal(
    "disabled-model",
    "A disabled model is a 404 MODEL_NOT_FOUND.",
    fact="model.disabled-is-404",
    status=(404,),
    code=("MODEL_NOT_FOUND",),
    needs=(FULL_KEY, DISABLED_MODEL, MAY_RUN),
)
MODEL_ABOVE_TIER = _refusal(
    "model-above-tier",
    "A model above the account's tier is a 403 MODEL_TIER_REQUIRED.",
    fact="model.above-tier-is-403",
    status=(403,),
    code=("MODEL_TIER_REQUIRED",),
    needs=(BUSINESS_KEY, ENTERPRISE_MODEL, MAY_RUN),
)
MODEL_RUN_UNDER_BUSINESS = _refusal(
    "model-run-under-business",
    "A model run of an account under business is a 403.",
    fact="model.run-under-business-is-403",
    status=(403,),  # with which code is open
    needs=(PRO_MODEL_KEY, USABLE_MODEL, MAY_RUN),
)
ASYNC_NOT_SUPPORTED = _refusal(
    "async-not-supported",
    "An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED.",
    fact="model.async-not-supported-is-400",
    status=(400,),
    code=("ASYNC_NOT_SUPPORTED",),
    needs=(FULL_KEY, UNPOLLED_MODEL, MAY_RUN),
)
TOO_FEW_CREDITS = _refusal(
    "too-few-credits",
    "A run without enough credits is a 402 INSUFFICIENT_CREDITS.",
    fact="run.too-few-credits-is-402",
    status=(402,),
    code=("INSUFFICIENT_CREDITS",),
    needs=(BROKE_KEY, BROKE_WORKFLOW, MAY_RUN),
)
EXHAUSTED_GRANT = _refusal(
    "exhausted-grant",
    "A run on a used-up trial grant is a 402 grant_exhausted.",
    fact="run.exhausted-grant-is-402",
    status=(402,),
    code=("grant_exhausted",),
    needs=(EXHAUSTED_KEY, EXHAUSTED_WORKFLOW, MAY_RUN),
)
PROVIDER_FAILURE = _refusal(
    "provider-failure",
    "A provider's failure is a 500 EXECUTION_FAILED.",
    fact="run.provider-failure-is-500",
    status=(500,),
    code=("EXECUTION_FAILED",),
    needs=(FULL_KEY, FAILING_WORKFLOW, MAY_RUN),
)
OVER_LIMIT = _refusal(
    "over-limit",
    "The first request over the tier's limit is a 429 RATE_LIMIT_EXCEEDED.",
    fact="rate.over-limit-is-429",
    status=(429,),
    code=("RATE_LIMIT_EXCEEDED",),
    needs=(LIMITED_KEY, MAY_RUN, FILLABLE_WINDOW),
)
