"""Whether responses have the documented shape: status, body and headers."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Final

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.known_places import FREE
from knouds_harness.contract.operations import RUN_OPERATIONS, Operation
from knouds_harness.contract.shapes import as_json, body_facts, body_mismatches, header_mismatches
from knouds_harness.exchange.evidence import JSON, Exchange
from knouds_harness.judging.claim import (
    Claim,
    answer_is,
    answers_to,
    check,
    header_is,
    is_answer,
    is_limited_run,
    is_submit,
    member_is,
    mismatch_claim,
    status_is,
)
from knouds_harness.judging.rule.values import documented_body, first_difference
from knouds_harness.targets.needs import workflows
from knouds_harness.targets.needs.keys import AUTHOR, READER
from knouds_harness.targets.needs.rate_limits import LIMITED_KEY
from knouds_harness.targets.needs.runs import ASYNC_RUN


def _facts_of_shapes() -> tuple[str, ...]:
    """Return every fact that the document cites in the schemas of successes, without those of headers."""
    responses = [each for operation in shipped_document().operations for each in operation.responses.values()]
    successes = [each for each in responses if each.status < 400]
    of_headers = {header.fact for each in successes for header in each.headers.values()}
    return tuple(sorted({fact for each in successes for fact in each.facts} - of_headers))


SHAPE_FACTS: Final = _facts_of_shapes()


@check(
    "ground.status-is-documented",
    "workflows.create-answers-slug",
    "workflows.write-success-body",
    "execution.cancel-success",
    applies=is_answer,
)
def status_is_documented(exchange: Exchange, *, operation: Operation) -> Iterator[Claim]:
    """An operation succeeds with a documented status, or an assumed one if no page names any.

    202 is for asynchronous runs; a synchronous run is a 200.
    """
    if exchange.status is None or exchange.status >= 400:
        return  # refusals have checks of their own
    documented = [status for status in operation.responses if status < 400]
    assumption = operation.assumption_about(exchange.status)
    if _is_waited_for(exchange, operation):
        documented, assumption = [200], None
    yield status_is(exchange, *documented, fact=assumption or "ground.status-is-documented")


def _is_waited_for(exchange: Exchange, operation: Operation) -> bool:
    return operation.id in RUN_OPERATIONS and "async" not in dict(exchange.request.query)


@check(*SHAPE_FACTS, applies=is_answer)
def body(exchange: Exchange, *, operation: Operation) -> Iterator[Claim]:
    """The body has the documented shape."""
    status, document = exchange.status, exchange.json_or_none()
    if status is None or status >= 400 or document is None:
        return  # the envelopes checks judge refusals
    if status == 202 and _is_waited_for(exchange, operation):
        status = 200  # its body is the result, even if its status is wrong
    mismatches = body_mismatches(operation, status, document)
    broken = {mismatch.fact for mismatch in mismatches}
    yield from map(mismatch_claim, mismatches)
    for fact in body_facts(operation, status, document) - broken:
        yield Claim("the documented shape", "the same", holds=True, fact=fact)


@check("rate.headers-on-success", "rate.headers-are-integers", applies=is_answer)
def headers(exchange: Exchange, *, operation: Operation) -> Iterator[Claim]:
    """The headers have the documented form."""
    if exchange.status is None or exchange.status >= 400 or exchange.status not in operation.responses:
        return
    mismatches = header_mismatches(operation, exchange.status, exchange.headers)
    yield from map(mismatch_claim, mismatches)
    if not mismatches and exchange.header("x-ratelimit-limit") is not None:
        yield Claim("whole numbers", "", holds=True, fact="rate.headers-are-integers")


@check("rate.headers-on-success", "rate.headers-are-integers", needs=(LIMITED_KEY,), applies=is_limited_run)
def limited_run_headers(exchange: Exchange) -> Iterator[Claim]:
    """A run of an account on a limited tier carries the three rate-limit headers, as whole numbers."""
    if exchange.status not in (200, 202):
        return
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
        value = exchange.header(name)
        yield header_is(exchange, name, "present", holds=value is not None, fact="rate.headers-on-success")
        if value is not None:
            expected, is_whole = "a whole number: the tier is limited", whole_number(value) is not None
            yield header_is(exchange, name, expected, holds=is_whole, fact="rate.headers-are-integers")


def _summaries(exchange: Exchange) -> Iterator[tuple[int, dict[str, JSON]]]:
    listed = exchange.json_or_none() if exchange.status == 200 else None
    for index, summary in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(summary, dict):
            yield index, summary


@check("workflows.summary-cost-is-number-or-null", needs=(workflows.WITHOUT_GENERATOR,))
def cost_without_generator(exchange: Exchange, *, slugs: frozenset[str]) -> Iterator[Claim]:
    """In the list, a workflow without generator nodes has a null estimatedCreditCost."""
    for index, summary in _summaries(exchange):
        if str(summary.get("slug")) in slugs:
            estimate = summary.get("estimatedCreditCost", "missing")
            expected, where = "null, as there is no generator node", f"/{index}/estimatedCreditCost"
            yield Claim(expected, as_json(estimate), holds=estimate is None, where=where)


@check("workflows.summary-cost-is-number-or-null", needs=(workflows.OWN_WORKFLOW,))
def cost_as_in_schema(exchange: Exchange, *, estimates: Mapping[str, JSON]) -> Iterator[Claim]:
    """In the list, the estimated cost of a workflow is null if it is null in the schema, and only then.

    ``estimates`` are the schemas' values, by slug.
    """
    for index, summary in _summaries(exchange):
        if str(summary.get("slug")) in estimates and "estimatedCreditCost" in summary:
            told, estimate = summary["estimatedCreditCost"], estimates[str(summary["slug"])]
            expected = f"{'null' if estimate is None else 'a number'}, as in the schema"
            holds, where = (told is None) == (estimate is None), f"/{index}/estimatedCreditCost"
            yield Claim(expected, as_json(told), holds=holds, where=where)


@check("schema.empty-without-request-input", needs=(READER,))
def no_request_input(exchange: Exchange) -> Iterator[Claim]:
    """The schema of a workflow without a Request Input node has no fields."""
    document = exchange.json_or_none()
    if exchange.status == 200 and isinstance(document, dict):
        yield member_is(document, "fields", "an empty array", holds=document.get("fields") == [])


def _served_to_all(exchange: Exchange) -> Claim:
    declared = exchange.header("content-type")
    is_json = exchange.json_or_none() is not None and "json" in (declared or "").lower()
    holds = exchange.status == 200 and is_json
    return Claim("200 with JSON", f"{exchange.answer} with {declared}", holds=holds)


@check("pricing.is-public-json", applies=answers_to("getPublicPricing"))
def public_pricing(exchange: Exchange) -> Iterator[Claim]:
    """Public pricing is served to everybody, as JSON."""
    yield _served_to_all(exchange)


@check("health.is-public-json", applies=answers_to("getHealth"))
def public_health(exchange: Exchange) -> Iterator[Claim]:
    """Health is served to everybody, as JSON."""
    yield _served_to_all(exchange)


@check(
    "schema.public-shape-without-cost",
    "schema.public-only-when-public",
    needs=(workflows.PUBLIC_WORKFLOW,),
    applies=lambda case: case.operation_id == "getPublicWorkflowSchema" and case.exchange.status == 200,
)
def public_schema(exchange: Exchange) -> Iterator[Claim]:
    """The public schema of a public workflow is served, without the cost."""
    is_served, fact = exchange.status == 200, "schema.public-only-when-public"
    yield answer_is(exchange, "200: the workflow is public", holds=is_served, fact=fact)
    document = exchange.json_or_none()
    if exchange.status == 200 and isinstance(document, dict):
        name, fact = "estimatedCreditCost", "schema.public-shape-without-cost"
        yield member_is(document, name, f"no {name}", holds=name not in document, fact=fact)


@check("workflows.get-round-trips", needs=(workflows.EDITED_WORKFLOW,))
def round_trip(exchange: Exchange) -> Iterator[Claim]:
    """A workflow as it was read can be sent to create."""
    yield answer_is(exchange, "created", holds=exchange.is_success)


@check(
    "async.submit-status-code",
    "async.submit-shape",
    "async.execution-id-is-uuid",
    "async.poll-url-leads-to-execution",
    "async.submit-is-processing",
    needs=(ASYNC_RUN,),
    applies=is_submit,
)
def submitted(exchange: Exchange) -> Iterator[Claim]:
    """A submit names its execution and where to poll it."""
    if exchange.status is not None and exchange.status < 300:
        yield status_is(exchange, 200, 202, fact="async.submit-status-code")
    document = exchange.json_or_none()
    if exchange.status not in (200, 202) or not isinstance(document, dict):
        return
    execution_id = document.get("executionId")
    poll_url = f"/api/executions/{execution_id}"
    for fact, name, expected, holds in (
        ("async.submit-shape", "_async", "true", document.get("_async") is True),
        ("async.execution-id-is-uuid", "executionId", "a UUID", _is_uuid(execution_id)),
        ("async.poll-url-leads-to-execution", "pollUrl", poll_url, document.get("pollUrl") == poll_url),
        ("async.submit-is-processing", "status", "processing", document.get("status") == "processing"),
    ):
        yield member_is(document, name, expected, holds=holds, fact=fact)


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


@check("schema.public-shape-without-cost", needs=(AUTHOR,))
def public_fields(exchange: Exchange, *, fields: JSON) -> Iterator[Claim]:
    """The public schema has the same fields as the schema for a key.

    ``fields`` are those of the latter.
    """
    yield from same_fields(exchange, fields, origin="the schema for a key")


def same_fields(exchange: Exchange, fields: JSON, *, origin: str) -> Iterator[Claim]:
    """Claim that a schema has the same fields as another one; nothing unless both are lists."""
    shown = exchange.members.get("fields") if exchange.status == 200 else None
    if isinstance(shown, list) and isinstance(fields, list):
        documented = documented_body(exchange).members.get("fields", FREE)
        difference = first_difference(fields, shown, "/fields", documented=documented)
        where, wanted, found = difference or ("/fields", fields, fields)
        expected = f"{as_json(wanted)}, as in {origin}"
        yield Claim(expected, as_json(found), holds=difference is None, where=where)
