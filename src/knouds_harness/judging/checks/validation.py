"""How a server handles invalid input."""

from collections.abc import Iterator

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.usage import MAX_LIMIT
from knouds_harness.judging.checks.usage import asked_limit, at_most
from knouds_harness.judging.claim import Claim, admitting, answer_is, by_rule, check
from knouds_harness.judging.context import Case
from knouds_harness.judging.rule import reasons
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR, WRITER


def _has_garbled_limit(case: Case) -> bool:
    is_asked = case.operation_id == "listUsage" and bool(case.asked.query.get("limit"))
    return case.is_answered and is_asked and asked_limit(case) is None


inputs_missing = by_rule(reasons.INPUTS_MISSING)
inputs_not_object = by_rule(reasons.INPUTS_NOT_OBJECT)
body_not_json = by_rule(reasons.BODY_NOT_JSON)
body_no_object = by_rule(reasons.BODY_NO_OBJECT)
malformed_slug = by_rule(reasons.MALFORMED_SLUG)
create_without_name = by_rule(reasons.CREATE_WITHOUT_NAME, WRITER)
misshapen_create = by_rule(reasons.MISSHAPEN_CREATE, WRITER)
misshapen_move = by_rule(reasons.MISSHAPEN_MOVE, AUTHOR)


@check("usage.garbled-query", "usage.limit-at-most-500", needs=(ANY_KEY,), applies=_has_garbled_limit)
def garbled_usage_query(exchange: Exchange) -> Iterator[Claim]:
    """A garbled limit, offset or status never gets a 5xx or more than 500 rows."""
    holds = (exchange.status or 0) // 100 in (2, 4)
    yield answer_is(exchange, "clamped, ignored or refused", holds=holds, fact="usage.garbled-query")
    yield from at_most(exchange, MAX_LIMIT, fact="usage.limit-at-most-500")


bodiless = admitting("validation.bodiless", "ground.bodiless-needs-no-content-type", needs=(ANY_KEY,))
