"""What one request and its answer decide by themselves, beyond what is asked of every answer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from knouds_harness.conformance.checks import (
    authentication,
    capabilities,
    executions,
    rate_limits,
    schemas,
    usage,
    validation,
    webhooks,
    workflows,
)
from knouds_harness.conformance.checks.envelopes import refusals
from knouds_harness.conformance.judging.claim import Check
from knouds_harness.conformance.judging.judgement import Judgement, judged
from knouds_harness.conformance.judging.known_keys import KnownKeys
from knouds_harness.conformance.judging.workflow_model import slug_from_name
from knouds_harness.contract.document import Document
from knouds_harness.contract.operations import Operation
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.client import KEY_HEADER
from knouds_harness.exchange.effectless_requests import NO_SUCH_EXECUTION, NO_SUCH_MODEL, NO_SUCH_WORKFLOW
from knouds_harness.exchange.evidence import JSON, Exchange, is_too_deep
from knouds_harness.exchange.execution_status import body_of

_KNOWN_KEY: Final = "{{key:"
_NOT_THE_CAUSE: Final = (401, 402, 403)
"""Answers that say nothing of what was asked for: who asked stood in the way."""
_RUNS: Final = ("runWorkflow", "runModel")
_NAME: Final = re.compile(r"[a-z0-9-]+")
_UNKNOWN_RESOURCE: Final[Mapping[str, Check[[]]]] = {
    "getWorkflow": refusals.UNKNOWN_WORKFLOW,
    "updateWorkflow": refusals.UNKNOWN_WORKFLOW,
    "moveWorkflow": refusals.UNKNOWN_WORKFLOW,
    "deleteWorkflow": refusals.UNKNOWN_WORKFLOW,
    "getWorkflowSchema": refusals.UNKNOWN_SCHEMA,
    "getPublicWorkflowSchema": refusals.UNKNOWN_SCHEMA,
    "runWorkflow": refusals.RUN_UNKNOWN_WORKFLOW,
    "runModel": refusals.UNKNOWN_MODEL,
    "getExecution": refusals.UNKNOWN_EXECUTION,
    "cancelExecution": refusals.UNKNOWN_EXECUTION,
}
_UNPOLLED_MODEL: Final = re.compile(r"kling-[a-z0-9-]+|seedream-v5|nano-banana-2|claude-sonnet")
"""Source: overview, and docs, async executions."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9]+( [A-Za-z0-9]+)*")
_NO_SUCH: Final = frozenset({NO_SUCH_WORKFLOW, NO_SUCH_MODEL, NO_SUCH_EXECUTION})
_NOT_JSON: Final = object()
_EXTREME: Final = object()


@dataclass(kw_only=True)
class SingleAnswers:
    """Judges exchanges one by one, in the order of sending.

    Attributes:
        keys: What is known of the keys that were sent.
    """

    document: Document
    shapes: ShapeJudge
    keys: KnownKeys

    def judge_delivery(self, exchange: Exchange) -> Iterator[Judgement]:
        """Have a webhook's delivery judged."""
        yield judged(webhooks.signature_header, exchange)
        yield judged(webhooks.fresh_timestamp, exchange)
        payload = webhooks.payload.judge(exchange, shapes=self.shapes)
        yield Judgement(check=webhooks.payload, claims=payload)

    def judge(self, exchange: Exchange, *, is_ours: bool) -> Iterator[Judgement]:
        """Have an exchange judged by every check that needs to know nothing else.

        Args:
            exchange: Any.
            is_ours: Whether this harness sent it, so that what stands in the record is what was sent; a
                browser may leave cookies and keys out.
        """
        operation = self.document.operation_by_id.get(exchange.request.operation_id or "")
        if operation is not None:
            yield from self.keys.judge(exchange, operation)
        if exchange.status in (None, 429):
            return
        if operation is not None:
            if is_ours:
                yield judged(_by_key(exchange, operation), exchange)
            yield from self._by_operation(exchange, operation)
        elif is_ours and exchange.request.path in self.document.session_only_paths:
            yield judged(authentication.session_only_path, exchange)

    def _by_operation(self, exchange: Exchange, operation: Operation) -> Iterator[Judgement]:
        if operation.is_public:
            yield from _public(exchange)
        elif exchange.code == "CAPABILITY_DENIED":
            yield _denied(exchange, operation)
        if exchange.request.body is None and exchange.status == 415:
            yield judged(validation.bodiless, exchange)
        if operation.id in _RUNS:
            yield from self._run(exchange)
        if exchange.status not in _NOT_THE_CAUSE:
            yield judged(_by_input(exchange, operation), exchange)
        yield from _read(exchange, operation)

    def _run(self, exchange: Exchange) -> Iterator[Judgement]:
        is_async = dict(exchange.request.query).get("async") == "true"
        if is_async and "executionId" in body_of(exchange):
            yield judged(schemas.submitted, exchange)
            slug = exchange.request.path_values.get("slug")
            if slug is not None:
                claims = executions.workflow_submit.judge(exchange, slug=slug)
                yield Judgement(check=executions.workflow_submit, claims=claims)
        ends = rate_limits.window_ends.judge(exchange, advanced_s=self.keys.advanced_s)
        yield Judgement(check=rate_limits.window_ends, claims=ends, is_partial=True)


def _denied(exchange: Exchange, operation: Operation) -> Judgement:
    """Whatever the key holds: where any will do none is denied, and else the denial names what would do."""
    values = exchange.request.path_values
    check = capabilities.denied if operation.alternatives else capabilities.admitted
    claims = check.judge(exchange, operation=operation, held=(), path_values=values)
    told = ("capability.denied-names-required", "capability.any-valid-key-suffices")
    return Judgement(check=check, claims=(claim for claim in claims if claim.fact in told))


def _public(exchange: Exchange) -> Iterator[Judgement]:
    operation_id = exchange.request.operation_id
    check = {"getPublicPricing": schemas.public_pricing, "getHealth": schemas.public_health}.get(
        operation_id or ""
    )
    if operation_id == "getPublicWorkflowSchema" and exchange.status == 200:
        check = schemas.public_schema
    yield judged(check, exchange)


def _by_key(exchange: Exchange, operation: Operation) -> Check[[]] | None:
    """The check that the key which was sent, or none, asks for."""
    sent = {name.lower(): value for name, value in exchange.sent_headers}
    key = sent.get(KEY_HEADER)
    if operation.is_public:
        is_refused = key is None and exchange.status in (401, 403)
        return authentication.public_operation if is_refused else None
    if key is None:
        if sent.get("authorization", "").startswith(f"Bearer {_KNOWN_KEY}"):
            return authentication.bearer
        if any(_KNOWN_KEY in value for _, value in exchange.request.query):
            return authentication.key_in_query
        return None if sent.keys() & {"authorization", "cookie"} else authentication.missing_key
    if not key.startswith("{{"):
        return authentication.malformed_key if key.strip() else authentication.empty_key
    return {
        "{{key:unknown}}": authentication.unknown_key,
        "{{key:altered}}": authentication.altered_key,
    }.get(key)


def _by_input(exchange: Exchange, operation: Operation) -> Check[[]] | None:
    """The check that input asks for which is not what it should be."""
    if operation.id in _RUNS:
        return _by_run_input(exchange)
    sent, names = _sent(exchange), exchange.request.path_values.values()
    if operation.id == "createWorkflow" and isinstance(sent, dict):
        name = sent.get("name")
        has_none = name is None or (isinstance(name, str) and not name.strip())
        return validation.create_without_name if has_none else None
    is_as_asked = exchange.request.body is None or exchange.status != 400
    return _UNKNOWN_RESOURCE.get(operation.id) if is_as_asked and _NO_SUCH & set(names) else None


def _by_run_input(exchange: Exchange) -> Check[[]] | None:
    """Of a run, the check for its inputs, its name, or what it names, whichever alone is at fault."""
    sent, names = _sent(exchange), tuple(exchange.request.path_values.values())
    if sent is _EXTREME:
        return None
    is_named = all(map(_NAME.fullmatch, names))
    if isinstance(sent, dict) and isinstance(sent.get("inputs"), dict):
        return _by_run_name(exchange, names) if is_named else validation.malformed_slug
    if exchange.status == 404 or exchange.code == "ASYNC_NOT_SUPPORTED":
        return None
    if is_named and _is_json(exchange) and isinstance(sent, dict):
        return validation.inputs_not_object if "inputs" in sent else validation.inputs_missing
    return validation.body_not_json if is_named and _is_json(exchange) and sent is _NOT_JSON else None


def _by_run_name(exchange: Exchange, names: tuple[str, ...]) -> Check[[]] | None:
    """The check for what is run by a name that is well-formed, with inputs that are."""
    if "async" in dict(exchange.request.query) and any(map(_UNPOLLED_MODEL.fullmatch, names)):
        return refusals.ASYNC_NOT_SUPPORTED if exchange.status != 404 else None
    return _UNKNOWN_RESOURCE[exchange.request.operation_id or ""] if _NO_SUCH & set(names) else None


def made_slug(exchange: Exchange) -> Iterator[Judgement]:
    """A slug that neither is made from a plain name nor one with a suffix."""
    sent, slug = _sent(exchange), body_of(exchange).get("slug")
    name = sent.get("name") if isinstance(sent, dict) else None
    if isinstance(name, str) and isinstance(slug, str) and _PLAIN_NAME.fullmatch(name):
        made = slug_from_name(name)
        is_made = re.fullmatch(rf"{re.escape(made)}(-?[1-9]\d*)?", slug) is not None
        claims = workflows.made_slug.judge(exchange, slug=slug, allowed=(slug if is_made else made,))
        yield Judgement(check=workflows.made_slug, claims=claims, is_partial=True)


def _read(exchange: Exchange, operation: Operation) -> Iterator[Judgement]:
    if operation.id == "getExecution":
        yield judged(schemas.ended, exchange)
        yield Judgement(check=executions.edges, claims=executions.edges.judge(exchange, statuses=()))
    if operation.id == "createWorkflow":
        yield from made_slug(exchange)
    if operation.id == "listWorkflows":
        claims = workflows.listed.judge(exchange)
        yield Judgement(check=workflows.listed, claims=claims, is_partial=True)
    if operation.id in ("listUsage", "listUsageModels"):
        yield judged(usage.no_provider_ids, exchange)
    if operation.id == "listUsageModels":
        claims = usage.distinct_models.judge(exchange, used=())
        yield Judgement(check=usage.distinct_models, claims=claims, is_partial=True)
    if operation.id == "listUsage":
        yield from _usage(exchange)


def _usage(exchange: Exchange) -> Iterator[Judgement]:
    query, rows = dict(exchange.request.query), usage.rows_of(exchange)
    yield judged(usage.no_canvas_rows, exchange)
    if rows:
        own = usage.own_user.judge(exchange, user_id=str(rows[0].get("userId")))
        yield Judgement(check=usage.own_user, claims=own, is_partial=True)
    filters = {name: query[name] for name in ("status", "modelId", "workflowSlug") if query.get(name)}
    if filters and filters.get("status", "failed") in ("processing", "completed", "failed"):
        claims = usage.filtered.judge(exchange, before=(), after=(), filters=filters)
        yield Judgement(check=usage.filtered, claims=claims, is_partial=True)
    limit = query.get("limit", "")
    if re.fullmatch(r"[1-9]\d{0,8}", limit, re.ASCII):
        yield Judgement(check=usage.limit, claims=usage.limit.judge(exchange, limit=int(limit)))
    elif limit:
        yield judged(validation.garbled_usage_query, exchange)
    total = body_of(exchange).get("total")
    if not limit and "offset" not in query and isinstance(total, int):
        yield Judgement(check=usage.default_limit, claims=usage.default_limit.judge(exchange, known=total))


def _is_json(exchange: Exchange) -> bool:
    """Whether the body was sent as JSON."""
    types = [value for name, value in exchange.sent_headers if name.lower() == "content-type"]
    return "json" in ", ".join(types).lower()


def _sent(exchange: Exchange) -> JSON:
    """The request's body as JSON; ``_NOT_JSON`` where it is not, None where there is none.

    ``_EXTREME`` is what sound parsers may refuse or take: numbers beyond all doubles, deep nesting, half of
    a surrogate pair. Of an answer to it nothing is claimed.
    """
    if not exchange.request.body:
        return None
    try:
        sent = json.loads(exchange.request.body, parse_int=_double, parse_float=_double)
        json.dumps(sent, ensure_ascii=False).encode()
    except (OverflowError, RecursionError, UnicodeEncodeError):
        return _EXTREME
    except ValueError:
        return _NOT_JSON
    return _EXTREME if is_too_deep(exchange.request.body, sent) else sent


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise OverflowError
    return number
