"""Whether what belongs to one user stays out of the reach of others."""

from collections.abc import Collection, Iterator

from knouds_harness.exchange.evidence import Exchange, body_of, status_in
from knouds_harness.exchange.usage import listed_models, rows_in, rows_of
from knouds_harness.judging.checks.usage import as_told
from knouds_harness.judging.checks.workflows import summaries_of
from knouds_harness.judging.claim import Claim, check, member_is
from knouds_harness.targets.needs import CONTROL, workflows
from knouds_harness.targets.needs.keys import ANY_KEY


@check("execution.foreign-is-404", needs=(workflows.CANCELLED_BY_STRANGER,))
def not_cancelled(exchange: Exchange) -> Iterator[Claim]:
    """An execution that only another account tried to cancel is not cancelled, as its owner sees."""
    status = status_in(exchange)
    if status is not None:
        holds = status not in ("cancel_requested", "cancelled")
        expected = "not cancelled, as its owner did not cancel it"
        yield member_is(body_of(exchange), "status", expected, holds=holds)


@check("workflows.list-own-and-templates", needs=(workflows.FILED_AND_STRANGER,))
def not_received(exchange: Exchange, *, slug: str) -> Iterator[Claim]:
    """A workflow that is moved to another account's folder is not in that account's list."""
    summaries = summaries_of(exchange)
    if summaries is not None:
        slugs = [each.get("slug") for each in summaries]
        expected = "no workflow of another account, in any folder"
        yield Claim(expected, f"{slug} listed", holds=slug not in slugs)


@check("usage.own-rows-only", needs=(ANY_KEY, CONTROL))
def no_rows(exchange: Exchange) -> Iterator[Claim]:
    """An account that never ran anything has no usage, whatever workflow or model is the filter."""
    rows = rows_in(exchange)
    if rows is not None:
        expected, observed = "no rows: the account never ran anything", as_told(rows_of(exchange))
        yield Claim(expected, observed, holds=not rows, where="/rows")


@check("usage.models-are-distinct", needs=(ANY_KEY, CONTROL))
def no_models(exchange: Exchange, *, of_others: Collection[str]) -> Iterator[Claim]:
    """An account that never ran anything lists no model that others have used."""
    listed = listed_models(exchange)
    if listed is not None:
        shown = sorted(set(listed) & set(of_others))
        observed = f"{', '.join(shown)}, which others have used"
        yield Claim("no model: the account never ran anything", observed, holds=not shown)


@check("usage.models-are-distinct", needs=(workflows.MODEL_RUN_AND_STRANGER,))
def no_foreign_model(exchange: Exchange, *, model: str) -> Iterator[Claim]:
    """A model that only another account has run is not listed."""
    listed = listed_models(exchange)
    if listed is not None:
        observed = f"{model}, since another account ran it"
        yield Claim("models of the account's own history", observed, holds=model not in listed)
