"""Refusals: how one looks, and which cause gets which status and code."""

import json
import re
from collections.abc import Collection, Iterator, Mapping

from knouds_harness.body_bounds import whole_number
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import RUN_OPERATIONS, ErrorCode, Source
from knouds_harness.contract.shapes import as_json
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks.rate_limits import MILLISECONDS
from knouds_harness.judging.claim import (
    Claim,
    answer_is,
    by_rule,
    check,
    header_is,
    is_answer,
    is_from_elsewhere,
    member_is,
)
from knouds_harness.judging.rule import reasons
from knouds_harness.judging.rule.reason import Reason
from knouds_harness.judging.rule.values import documented_body
from knouds_harness.targets.needs import runs
from knouds_harness.targets.needs.keys import ANY_KEY, MODEL_RUNNER, TWO_AUTHORS, WORKFLOW_RUNNER
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW
from knouds_harness.targets.needs.workflows import FOREIGN_WORKFLOW, FOREIGN_WORKFLOW_RUN, PRIVATE_WORKFLOW

_WORKFLOW_OPERATIONS = frozenset(
    each.id for each in shipped_document().operations if "slug" in each.path_parameters
)

_INPUT_CODES = frozenset({"INVALID_BODY", "INVALID_INPUTS", "INVALID_SLUG"})
_INTERNALS = re.compile(
    r"<!doctype|<html|<body|<pre>|Traceback \(most recent call last\)|\n\s+at \S+ \("
    r"|File \"/|/(?:home|usr|var|srv|app)/\S+\.\w+",
    re.IGNORECASE,
)


def _is_refusal(exchange: Exchange) -> bool:
    has_body = exchange.request.method != "HEAD"
    return exchange.status is not None and exchange.status >= 400 and has_body


@check("ground.no-undocumented-server-error", "envelope.error-is-object", applies=is_from_elsewhere)
def intermediary(exchange: Exchange) -> Iterator[Claim]:
    """The API itself answers, with its envelope, and nothing that stands in front of it."""
    fact = (
        "ground.no-undocumented-server-error" if (exchange.status or 0) >= 500 else "envelope.error-is-object"
    )
    declared = (exchange.header("content-type") or "no type").partition(";")[0].strip().lower()
    server = exchange.header("server")
    cause = f"{exchange.status} {declared}{f' from {server}' if server else ''}"
    yield Claim("an answer of the API, with its envelope", cause, holds=False, fact=fact, cause=cause)


@check("ground.json-content-type", applies=is_answer)
def json_content_type(exchange: Exchange) -> Iterator[Claim]:
    """Every response declares application/json."""
    if exchange.status is None or not exchange.body:
        return
    media_type = (exchange.header("content-type") or "").partition(";")[0].strip().lower()
    expected = "application/json"
    yield header_is(exchange, "content-type", expected, holds=media_type == expected)


@check("ground.responses-are-json-objects", "workflows.list-is-array", applies=is_answer)
def json_object(exchange: Exchange) -> Iterator[Claim]:
    """Every successful response is a JSON object, except the workflow list, which is an array."""
    is_asked_for = exchange.request.method not in ("HEAD", "OPTIONS")
    fact = "ground.responses-are-json-objects"
    if not exchange.is_success or not is_asked_for:
        return
    try:
        body = exchange.json()
    except ValueError as reason:
        yield Claim("a JSON object", f"a body that is not JSON ({reason})", holds=False, fact=fact)
        return
    observed = type(body).__name__
    if exchange.request.operation_id == "listWorkflows":
        yield Claim("an array", observed, holds=isinstance(body, list), fact="workflows.list-is-array")
    elif exchange.request.operation_id != "listUsageModels" or not isinstance(body, dict | list):
        # how usage models are listed is undocumented: an array will do
        yield Claim("a JSON object", observed, holds=isinstance(body, dict), fact=fact)


@check(
    "envelope.error-is-object",
    "envelope.error-has-text",
    "envelope.error-has-code",
    "envelope.plain-401-has-code",
    "envelope.unknown-workflow-404-has-code",
    applies=is_answer,
)
def envelope(exchange: Exchange) -> Iterator[Claim]:
    """Every refusal is an object with a text `error` and a constant `code`."""
    if not _is_refusal(exchange):
        return
    body = exchange.json_or_none()
    observed = type(body).__name__ if body is not None else "a body that is not JSON"
    yield Claim("a JSON object", observed, holds=isinstance(body, dict), fact="envelope.error-is-object")
    if not isinstance(body, dict):
        return
    has_text, has_code = (
        isinstance(body.get(name), str) and body[name].strip() for name in ("error", "code")
    )
    yield member_is(body, "error", "a text for people", holds=bool(has_text), fact="envelope.error-has-text")
    for fact in _code_facts(exchange, body):
        yield member_is(body, "code", "a constant for programs", holds=bool(has_code), fact=fact)


def _code_facts(exchange: Exchange, body: Mapping[str, object]) -> Iterator[str]:
    """Yield the facts that promise the code; for two refusals, the sources disagree whether there is one."""
    if "code" in body and not isinstance(body["code"], str):
        yield "envelope.error-has-code"
        return
    is_of_workflow = exchange.request.operation_id in _WORKFLOW_OPERATIONS
    is_plain_401 = exchange.status == 401 and body.get("code") != "LEGACY_KEY_RETIRED"
    is_plain_404 = exchange.status == 404 and is_of_workflow
    if is_plain_401:
        yield "envelope.plain-401-has-code"
    if is_plain_404:
        yield "envelope.unknown-workflow-404-has-code"
    if "code" in body or not (is_plain_401 or is_plain_404):
        yield "envelope.error-has-code"


@check("envelope.no-internals", applies=is_answer)
def no_internals(exchange: Exchange) -> Iterator[Claim]:
    """A refusal shows no markup, stack trace or path of the server."""
    if not _is_refusal(exchange):
        return
    found = _INTERNALS.search(exchange.body.decode("utf-8", "replace"))
    yield Claim("a message for people", as_json(found[0]) if found else "", holds=found is None)


@check("envelope.code-fits-status", applies=is_answer, reads=lambda case: {"possible": case.allowed.possible})
def code_fits_status(
    exchange: Exchange, *, catalogue: Mapping[str, ErrorCode], possible: Collection[Reason]
) -> Iterator[Claim]:
    """A documented code comes with its documented status."""
    code, status = catalogue.get(exchange.code or ""), exchange.status
    if not _is_refusal(exchange) or code is None or code.source is Source.ASSUMED:
        return
    holds = status in code.statuses
    if not holds and code.code in _INPUT_CODES and any(status in each.open_statuses for each in possible):
        return  # such as 413 INVALID_BODY: no source says which status and code a large body gets
    yield answer_is(exchange, f"{code.code} with {' or '.join(map(str, code.statuses))}", holds=holds)


@check(
    "capability.denied-names-required", "capability.required-form", "rate.refusal-fields", applies=is_answer
)
def context_fields(exchange: Exchange) -> Iterator[Claim]:
    """A refusal carries the context fields that belong to its code."""
    body = exchange.json_or_none()
    if not _is_refusal(exchange) or not isinstance(body, dict):
        return
    if exchange.code == "CAPABILITY_DENIED":
        required = body.get("required")
        expected, fact = "`required`, naming what would have passed", "capability.denied-names-required"
        yield member_is(body, "required", expected, holds=bool(required), fact=fact)
        if required:
            is_list = isinstance(required, list) and all(isinstance(item, str) for item in required)
            holds, expected = isinstance(required, str) or is_list, "a string or a list of strings"
            yield member_is(body, "required", expected, holds=holds, fact="capability.required-form")
    if exchange.code == "RATE_LIMIT_EXCEEDED":
        for member, kind, words in (
            ("tier", str, "text"),
            ("limit", int, "a number"),
            ("retryAfter", int, "seconds"),
        ):
            holds = isinstance(body.get(member), kind) and not isinstance(body.get(member), bool)
            yield member_is(body, member, f"{member}, {words}", holds=holds, fact="rate.refusal-fields")


@check("rate.refusal-headers", "rate.headers-are-integers", "rate.body-and-headers-agree", applies=is_answer)
def throttled_headers(exchange: Exchange) -> Iterator[Claim]:
    """A 429 carries the rate-limit headers and Retry-After, and its body agrees with them."""
    if exchange.status != 429:
        return
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"):
        value = exchange.header(name)
        is_whole = whole_number(value) is not None
        yield header_is(exchange, name, "a whole number", holds=is_whole, fact="rate.refusal-headers")
    reset_unix_s = whole_number(exchange.header("X-RateLimit-Reset"))
    if reset_unix_s is not None:
        holds, fact = reset_unix_s < MILLISECONDS, "rate.headers-are-integers"
        yield header_is(exchange, "X-RateLimit-Reset", "unix seconds", holds=holds, fact=fact)
    body = exchange.members
    for member, name in (("retryAfter", "Retry-After"), ("limit", "X-RateLimit-Limit")):
        value = exchange.header(name)
        if member in body and value is not None:
            expected, fact = f"{member} equal to {name}: {value}", "rate.body-and-headers-agree"
            yield member_is(body, member, expected, holds=str(body[member]) == value, fact=fact)


@check("ground.no-undocumented-server-error", applies=is_answer)
def no_server_error(exchange: Exchange) -> Iterator[Claim]:
    """No response is a 5xx, except the documented EXECUTION_FAILED."""
    if exchange.status is None:
        yield Claim("an answer", exchange.failure or "no answer", holds=False)
        return
    is_run = exchange.request.operation_id in RUN_OPERATIONS
    has_failed = is_run and (exchange.status, exchange.code) == (500, "EXECUTION_FAILED")
    yield answer_is(exchange, "no 5xx but EXECUTION_FAILED", holds=exchange.status < 500 or has_failed)


# --- which cause gets which refusal


def refused_alike(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """Claim that a refusal is the same whether or not the resource exists.

    Compares status, code and documented members, without the message for people and the names of resources.
    Nothing is claimed unless both are refusals, other than a 429.
    """
    refusals = (of_existing, exchange)
    if all(each.status is not None and 400 <= each.status < 500 and each.status != 429 for each in refusals):
        known, unknown = map(_told, refusals)
        yield Claim(f"{known}, as of one that exists", unknown, holds=unknown == known)


def _told(refusal: Exchange) -> str:
    """Return what a refusal tells programs, with ``*`` for the name of the resource."""
    members, documented = refusal.members, documented_body(refusal).members
    told = {name: members[name] for name in documented if name in members and name not in ("error", "code")}
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    for name in refusal.request.path_values.values():
        text = text.replace(name, "*")
    return refusal.answer + (f" with {text}" if told else "")


@check("envelope.code-is-constant", needs=(ANY_KEY,))
def constant_code(exchange: Exchange, *, earlier: Exchange) -> Iterator[Claim]:
    """The same cause gives the same code for every resource."""
    expected, is_same = f"{earlier.code}, as for another resource", exchange.code == earlier.code
    yield member_is(exchange.members, "code", expected, holds=is_same)


unknown_route = by_rule(reasons.UNKNOWN_ROUTE)
wrong_method = by_rule(reasons.WRONG_METHOD)
oversized_body = by_rule(reasons.OVERSIZED)
unknown_workflow = by_rule(reasons.UNKNOWN_WORKFLOW)
unknown_schema = by_rule(reasons.UNKNOWN_SCHEMA)
private_public_schema = by_rule(reasons.PRIVATE_PUBLIC_SCHEMA, PRIVATE_WORKFLOW)
run_unknown_workflow = by_rule(reasons.RUN_UNKNOWN_WORKFLOW, WORKFLOW_RUNNER)
run_foreign_workflow = by_rule(reasons.RUN_FOREIGN_WORKFLOW, FOREIGN_WORKFLOW_RUN)
read_foreign_workflow = by_rule(reasons.READ_FOREIGN_WORKFLOW, FOREIGN_WORKFLOW)
write_foreign_workflow = by_rule(reasons.WRITE_FOREIGN_WORKFLOW, TWO_AUTHORS)
unknown_execution = by_rule(reasons.UNKNOWN_EXECUTION)
foreign_execution = by_rule(reasons.FOREIGN_EXECUTION)
unknown_model = by_rule(reasons.UNKNOWN_MODEL, MODEL_RUNNER)
disabled_model = by_rule(reasons.DISABLED_MODEL, runs.DISABLED_MODEL)
model_above_tier = by_rule(reasons.MODEL_ABOVE_TIER, runs.ENTERPRISE_MODEL)
model_run_under_business = by_rule(reasons.MODEL_RUN_UNDER_BUSINESS, runs.PRO_MODEL_RUN)
async_not_supported = by_rule(reasons.ASYNC_NOT_SUPPORTED, runs.UNPOLLED_MODEL)
too_few_credits = by_rule(reasons.TOO_FEW_CREDITS, runs.BROKE_RUN)
exhausted_grant = by_rule(reasons.EXHAUSTED_GRANT, runs.EXHAUSTED_RUN)
provider_failure = by_rule(reasons.PROVIDER_FAILURE, runs.FAILING_RUN)
over_limit = by_rule(reasons.OVER_LIMIT, FILLABLE_WINDOW)
