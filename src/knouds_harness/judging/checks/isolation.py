"""Whether what belongs to one user stays out of the reach of others."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import status_in
from knouds_harness.exchange.usage import listed_models, rows_in
from knouds_harness.judging.checks.workflows import summaries_of
from knouds_harness.judging.claim import Claim, answer, check, refusal_is
from knouds_harness.targets.needs.keys import ANY_KEY, TWO_ACCOUNTS
from knouds_harness.targets.needs.need import CONTROL
from knouds_harness.targets.needs.workflows import (
    CANCELLED_BY_STRANGER,
    FILED_AND_STRANGER,
    MODEL_RUN_AND_STRANGER,
)


@dataclass(frozen=True, kw_only=True)
class ForeignRefusal:
    """How an operation on someone else's resource is refused.

    Attributes:
        fact: Promises the refusal.
        statuses: Allowed statuses of the refusal.
        status_fact: The assumed fact about the status, if ``fact`` promises only a refusal.
    """

    fact: str
    statuses: tuple[int, ...] = (404,)
    status_fact: str | None = None


_READ = ForeignRefusal(fact="workflows.foreign-private-read-is-refused", statuses=(403, 404))
_WRITE = ForeignRefusal(
    fact="workflows.foreign-write-is-refused",
    statuses=(403, 404),
    status_fact="workflows.foreign-write-status",
)
_EXECUTION = ForeignRefusal(fact="execution.foreign-is-404")

ON_WORKFLOWS: Final[Mapping[str, ForeignRefusal]] = MappingProxyType(
    {
        "runWorkflow": ForeignRefusal(fact="run.foreign-workflow-is-404"),
        "getWorkflowSchema": _READ,
        "getPublicWorkflowSchema": ForeignRefusal(fact="schema.public-only-when-public"),
        "getWorkflow": _READ,
        "updateWorkflow": _WRITE,
        "moveWorkflow": _WRITE,
        "deleteWorkflow": _WRITE,
    }
)
"""Refusals of operations on a private workflow."""

ON_EXECUTIONS: Final[Mapping[str, ForeignRefusal]] = MappingProxyType(
    {"getExecution": _EXECUTION, "cancelExecution": _EXECUTION}
)

ON_NOBODYS: Final = frozenset({"runModel"})
"""Operations on resources without an owner."""

REFUSAL_BY_OPERATION: Final[Mapping[str, ForeignRefusal]] = MappingProxyType(
    {**ON_WORKFLOWS, **ON_EXECUTIONS}
)
FACTS_BY_OPERATION: Final[Mapping[str, tuple[str, ...]]] = {
    operation_id: tuple(filter(None, (refusal.fact, refusal.status_fact)))
    for operation_id, refusal in REFUSAL_BY_OPERATION.items()
}
_FACTS = tuple(dict.fromkeys(refusal.fact for refusal in REFUSAL_BY_OPERATION.values()))


@check(*_FACTS, "workflows.foreign-write-status", needs=(TWO_ACCOUNTS,))
def refused(exchange: Exchange) -> Iterator[Claim]:
    """Every operation on someone else's private workflow or execution is refused."""
    refusal = REFUSAL_BY_OPERATION[exchange.request.operation_id or ""]
    yield from refusal_is(exchange, refusal.fact, refusal.status_fact, *refusal.statuses)


@check("execution.foreign-is-404", needs=(CANCELLED_BY_STRANGER,))
def not_cancelled(exchange: Exchange) -> Iterator[Claim]:
    """An execution that only another account tried to cancel is not cancelled, as its owner sees."""
    status = status_in(exchange)
    if status is not None:
        yield Claim(
            fact="execution.foreign-is-404",
            holds=status not in ("cancel_requested", "cancelled"),
            expected="not cancelled, as its owner did not cancel it",
            observed=status,
            where="/status",
        )


@check("workflows.list-own-and-templates", needs=(FILED_AND_STRANGER,), given=("slug",))
def not_received(exchange: Exchange, *, slug: str) -> Iterator[Claim]:
    """A workflow that is moved to another account's folder is not in that account's list."""
    summaries = summaries_of(exchange)
    if summaries is not None:
        slugs = [each.get("slug") for each in summaries]
        yield Claim(
            fact="workflows.list-own-and-templates",
            holds=slug not in slugs,
            expected="no workflow of another account, in any folder",
            observed=f"{slug} listed",
        )


@check("workflows.creator-owns", needs=(FILED_AND_STRANGER,))
def still_owned(exchange: Exchange) -> Iterator[Claim]:
    """A workflow stays its creator's, whichever folder they move it to."""
    yield Claim(
        fact="workflows.creator-owns",
        holds=exchange.is_success,
        expected="accepted: this key's account created it",
        observed=answer(exchange),
    )


@check("usage.own-rows-only", needs=(ANY_KEY, CONTROL))
def no_rows(exchange: Exchange) -> Iterator[Claim]:
    """An account that never ran anything has no usage, whatever workflow or model is the filter."""
    rows = rows_in(exchange)
    if rows is not None:
        yield Claim(
            fact="usage.own-rows-only",
            holds=not rows,
            expected="no rows: the account never ran anything",
            observed=f"{len(rows)} rows",
            where="/rows",
        )


@check("usage.models-are-distinct", needs=(ANY_KEY, CONTROL), given=("of_others",))
def no_models(exchange: Exchange, *, of_others: Collection[str]) -> Iterator[Claim]:
    """An account that never ran anything lists no model that others have used."""
    listed = listed_models(exchange)
    if listed is not None:
        shown = sorted(set(listed) & set(of_others))
        yield Claim(
            fact="usage.models-are-distinct",
            holds=not shown,
            expected="no model: the account never ran anything",
            observed=f"{', '.join(shown)}, which others have used",
        )


@check("usage.models-are-distinct", needs=(MODEL_RUN_AND_STRANGER,), given=("model",))
def no_foreign_model(exchange: Exchange, *, model: str) -> Iterator[Claim]:
    """A model that only another account has run is not listed."""
    listed = listed_models(exchange)
    if listed is not None:
        yield Claim(
            fact="usage.models-are-distinct",
            holds=model not in listed,
            expected="models of the account's own history",
            observed=f"{model}, since another account ran it",
        )
