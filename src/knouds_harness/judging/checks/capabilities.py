"""Which key may do what: admitted by the documented rule, or refused and told the missing capability."""

from collections.abc import Iterator, Mapping

from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.checks.envelopes import refused_alike
from knouds_harness.judging.checks.workflows import as_written, summaries_of
from knouds_harness.judging.claim import Claim, admitting, by_rule, check
from knouds_harness.judging.rule import reasons
from knouds_harness.judging.rule.values import documented_body, is_same_text
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR

admitted = admitting(
    "capabilities.admitted",
    "capability.any-valid-key-suffices",
    "capability.star-is-admitted",
    "capability.exact-is-admitted",
    "capability.resource-wildcard-is-admitted",
    "capability.bound-form-is-admitted",
    needs=(ANY_KEY,),
)
denied = by_rule(reasons.CAPABILITY, ANY_KEY)


@check("capability.denial-tells-nothing")
def denied_alike(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """A key without the capability gets the same refusal whether or not the resource exists."""
    yield from refused_alike(exchange, of_existing=of_existing)


@check("capability.denial-has-no-effect", needs=(AUTHOR,))
def nothing_changed(exchange: Exchange, *, before: Mapping[str, JSON]) -> Iterator[Claim]:
    """A refused write leaves the workflow as it was.

    ``before`` is the workflow as read before it.
    """
    documented = documented_body(exchange).members or before
    known = {name: before.get(name) for name in documented} if before else {}
    yield from as_written(exchange, known)


@check("capability.denial-has-no-effect", needs=(AUTHOR,))
def nothing_created(exchange: Exchange, *, name: str) -> Iterator[Claim]:
    """A refused create leaves no workflow behind."""
    summaries = summaries_of(exchange)
    if summaries is not None:
        holds = not any(is_same_text(each.get("name"), name) for each in summaries)
        yield Claim("no workflow of the refused name", f'a workflow "{name}"', holds=holds)
