"""Which cause gets which refusal: its status, its code, and what it must not reveal."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final

from knouds_harness.exchange.effectless_requests import NO_SUCH_EXECUTION, NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.claim import Check, Claim, answer, check, code_is, refusal_is, status_is
from knouds_harness.judging.context import Case
from knouds_harness.judging.workflow_model import documented_body
from knouds_harness.targets.needs import runs
from knouds_harness.targets.needs.keys import ANY_KEY, MODEL_RUNNER, TWO_AUTHORS, WORKFLOW_RUNNER
from knouds_harness.targets.needs.need import Need
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW
from knouds_harness.targets.needs.workflows import FOREIGN_WORKFLOW, FOREIGN_WORKFLOW_RUN, PRIVATE_WORKFLOW

_BAD_BODY: Final = (400, 413, 415, 422)
"""Statuses that may refuse a body before the server looks for the resource."""
_NO_SUCH: Final = frozenset({NO_SUCH_WORKFLOW, NO_SUCH_MODEL, NO_SUCH_EXECUTION})
_UNPOLLED_MODEL: Final = re.compile(r"kling-[a-z0-9-]+|seedream-v5|nano-banana-2|claude-sonnet")
"""Source: overview, and docs, async executions."""


def refused_alike(exchange: Exchange, *, of_existing: Exchange, fact: str) -> Iterator[Claim]:
    """Claim that a refusal is the same whether or not the resource exists.

    Compares status, code and documented members, without the message for people and the names of resources.
    Nothing is claimed unless both are refusals, other than a 429.
    """
    refusals = (of_existing, exchange)
    if all(each.status is not None and 400 <= each.status < 500 and each.status != 429 for each in refusals):
        known, unknown = map(_told, refusals)
        yield Claim(
            fact=fact, holds=unknown == known, expected=f"{known}, as of one that exists", observed=unknown
        )


def _told(refusal: Exchange) -> str:
    """Return what a refusal tells programs, with ``*`` for the name of the resource."""
    members, documented = refusal.members, documented_body(refusal).members
    told = {name: members[name] for name in documented if name in members and name not in ("error", "code")}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    for name in refusal.request.path_values.values():
        text = text.replace(name, "*")
    return answer(refusal) + (f" with {text}" if told else "")


@check("envelope.code-is-constant", needs=(ANY_KEY,), given=("earlier",))
def constant_code(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """The same cause gives the same code for every resource."""
    yield Claim(
        fact="envelope.code-is-constant",
        holds=exchange.code == earlier.code,
        expected=f"{earlier.code}, as for another resource",
        observed=answer(exchange),
        where="/code",
    )


@check("ground.unknown-route-is-404")
def unknown_route(exchange: Exchange) -> Iterator[Claim]:
    """An unknown route is a 404."""
    yield status_is(exchange, 404, fact="ground.unknown-route-is-404")


@check("ground.wrong-method-is-404-or-405")
def wrong_method(exchange: Exchange) -> Iterator[Claim]:
    """A method that a path does not have is a 404 or 405."""
    yield status_is(exchange, 404, 405, fact="ground.wrong-method-is-404-or-405")


@check("ground.oversized-body-is-413-or-400")
def oversized_body(exchange: Exchange) -> Iterator[Claim]:
    """An oversized body is refused."""
    yield status_is(exchange, 413, 400, fact="ground.oversized-body-is-413-or-400")


def _refusal(
    name: str,
    sentence: str,
    *,
    fact: str,
    status: tuple[int, ...],
    code: tuple[str, ...] = (),
    status_fact: str | None = None,
    needs: tuple[Need[object], ...] = (),
    applies: Callable[[Case], object] | None = None,
) -> Check[[]]:
    """Make a check that one cause is refused as documented.

    ``status_fact`` is the (assumed) fact about the exact status, if ``fact`` promises only a refusal.
    """

    def judge(exchange: Exchange) -> Iterator[Claim]:
        yield from refusal_is(exchange, fact, status_fact, *status)
        if code and exchange.status in status:
            yield code_is(exchange, *code, fact=fact)

    judge.__name__, judge.__doc__ = name, sentence
    facts = (fact,) if status_fact is None else (fact, status_fact)
    return check(*facts, needs=needs, applies=applies)(judge)


def _of_unknown(*operation_ids: str) -> Callable[[Case], bool]:
    """Return a predicate: a request to one of these for an unknown resource, with nothing else wrong."""

    def applies(case: Case) -> bool:
        if case.operation_id not in operation_ids or _NO_SUCH.isdisjoint(case.names):
            return False
        if case.is_run:
            return case.run_defect == "" and not _is_async_of_unpolled(case)
        is_of_body = case.exchange.request.body is not None and case.exchange.status in _BAD_BODY
        return case.is_about_input and not is_of_body

    return applies


def _is_async_of_unpolled(case: Case) -> bool:
    is_unpolled = any(map(_UNPOLLED_MODEL.fullmatch, case.names))
    return case.run_defect == "" and "async" in case.query and is_unpolled


def _is_model_run_on_pro(case: Case) -> bool:
    """Whether a pro account, not an administrator's, ran a model that may exist."""
    is_pro = case.known.get("tier") == "pro" and case.key_state == "active"
    return is_pro and case.is_below_models and case.exchange.status not in (400, 401, 404)


UNKNOWN_WORKFLOW = _refusal(
    "unknown-workflow",
    "An unknown slug is a 404 on read and write.",
    fact="workflows.unknown-is-404",
    status=(404,),
    applies=_of_unknown("getWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow"),
)
UNKNOWN_SCHEMA = _refusal(
    "unknown-schema",
    "The schema of an unknown slug is a 404.",
    fact="schema.unknown-is-404",
    status=(404,),
    applies=_of_unknown("getWorkflowSchema", "getPublicWorkflowSchema"),
)
PRIVATE_PUBLIC_SCHEMA = _refusal(
    "private-public-schema",
    "The public schema of a private workflow is a 404.",
    fact="schema.public-only-when-public",
    status=(404,),
    needs=(PRIVATE_WORKFLOW,),
)
RUN_UNKNOWN_WORKFLOW = _refusal(
    "run-unknown-workflow",
    "Running an unknown workflow is a 404.",
    fact="run.unknown-workflow-is-404",
    status=(404,),
    needs=(WORKFLOW_RUNNER,),
    applies=_of_unknown("runWorkflow"),
)
RUN_FOREIGN_WORKFLOW = _refusal(
    "run-foreign-workflow",
    "Running someone else's private workflow is a 404.",
    fact="run.foreign-workflow-is-404",
    status=(404,),
    needs=(FOREIGN_WORKFLOW_RUN,),
)
READ_FOREIGN_WORKFLOW = _refusal(
    "read-foreign-workflow",
    "Someone else's private workflow cannot be read.",
    fact="workflows.foreign-private-read-is-refused",
    status=(403, 404),
    needs=(FOREIGN_WORKFLOW,),
)
WRITE_FOREIGN_WORKFLOW = _refusal(
    "write-foreign-workflow",
    "Someone else's workflow cannot be written.",
    fact="workflows.foreign-write-is-refused",
    status=(403, 404),
    status_fact="workflows.foreign-write-status",
    needs=(TWO_AUTHORS,),
)
UNKNOWN_EXECUTION = _refusal(
    "unknown-execution",
    "An unknown execution is a 404.",
    fact="execution.unknown-is-404",
    status=(404,),
    applies=_of_unknown("getExecution", "cancelExecution"),
)
FOREIGN_EXECUTION = _refusal(
    "foreign-execution", "Someone else's execution is a 404.", fact="execution.foreign-is-404", status=(404,)
)
UNKNOWN_MODEL = _refusal(
    "unknown-model",
    "An unknown model is a 404 MODEL_NOT_FOUND.",
    fact="model.unknown-is-404",
    status=(404,),
    code=("MODEL_NOT_FOUND",),
    needs=(MODEL_RUNNER,),
    applies=_of_unknown("runModel"),
)
DISABLED_MODEL_REFUSED = _refusal(
    "disabled-model",
    "A disabled model is a 404 MODEL_NOT_FOUND.",
    fact="model.disabled-is-404",
    status=(404,),
    code=("MODEL_NOT_FOUND",),
    needs=(runs.DISABLED_MODEL,),
)
MODEL_ABOVE_TIER = _refusal(
    "model-above-tier",
    "A model above the account's tier is a 403 MODEL_TIER_REQUIRED.",
    fact="model.above-tier-is-403",
    status=(403,),
    code=("MODEL_TIER_REQUIRED",),
    needs=(runs.ENTERPRISE_MODEL,),
)
MODEL_RUN_UNDER_BUSINESS = _refusal(
    "model-run-under-business",
    "A model run of an account below business is a 403.",
    fact="model.run-under-business-is-403",
    status=(403,),  # the code is undocumented
    needs=(runs.PRO_MODEL_RUN,),
    applies=_is_model_run_on_pro,
)
ASYNC_NOT_SUPPORTED = _refusal(
    "async-not-supported",
    "An async run of a model that is not polled is a 400 ASYNC_NOT_SUPPORTED.",
    fact="model.async-not-supported-is-400",
    status=(400,),
    code=("ASYNC_NOT_SUPPORTED",),
    needs=(runs.UNPOLLED_MODEL,),
    applies=lambda case: _is_async_of_unpolled(case) and case.exchange.status != 404,
)
TOO_FEW_CREDITS = _refusal(
    "too-few-credits",
    "A run without enough credits is a 402 INSUFFICIENT_CREDITS.",
    fact="run.too-few-credits-is-402",
    status=(402,),
    code=("INSUFFICIENT_CREDITS",),
    needs=(runs.BROKE_RUN,),
)
EXHAUSTED_GRANT = _refusal(
    "exhausted-grant",
    "A run on a used-up trial grant is a 402 grant_exhausted.",
    fact="run.exhausted-grant-is-402",
    status=(402,),
    code=("grant_exhausted",),
    needs=(runs.EXHAUSTED_RUN,),
)
PROVIDER_FAILURE = _refusal(
    "provider-failure",
    "A provider's failure is a 500 EXECUTION_FAILED.",
    fact="run.provider-failure-is-500",
    status=(500,),
    code=("EXECUTION_FAILED",),
    needs=(runs.FAILING_RUN,),
)
OVER_LIMIT = _refusal(
    "over-limit",
    "The first request over the tier's limit is a 429 RATE_LIMIT_EXCEEDED.",
    fact="rate.over-limit-is-429",
    status=(429,),
    code=("RATE_LIMIT_EXCEEDED",),
    needs=(FILLABLE_WINDOW,),
)
