"""The checks that apply to every exchange, whoever sent its request, and how they judge one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from knouds_harness.conformance.checks import envelopes, schemas
from knouds_harness.conformance.claims import Check, Claim
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.contract.document import Document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.runs.findings import Finding

_ON_EVERY_EXCHANGE: Final = (
    envelopes.no_server_error,
    envelopes.json_content_type,
    envelopes.json_object,
    envelopes.envelope,
    envelopes.no_internals,
    envelopes.context_fields,
    envelopes.throttled_headers,
)
COMMON_CHECKS: Final[tuple[Check[...], ...]] = (
    *_ON_EVERY_EXCHANGE,
    envelopes.code_fits_status,
    schemas.status_is_documented,
    schemas.body,
    schemas.headers,
)
"""The checks that judge every exchange, whatever its request was sent for."""
COMMON_FACTS: Final = frozenset(fact for check in COMMON_CHECKS for fact in check.facts) - {
    *schemas.SHAPE_FACTS
}
"""The facts that any test may show to be broken; the shape of a success shows in tests that succeed."""


def common_claims(
    exchange: Exchange, *, document: Document, shapes: ShapeJudge
) -> Iterator[tuple[Check[...], Iterator[Claim]]]:
    """What each common check claims of an exchange; those about an operation only where there is one."""
    for check in _ON_EVERY_EXCHANGE:
        yield check, check.judge(exchange)
    codes = envelopes.code_fits_status
    yield codes, codes.judge(exchange, catalogue=document.error_codes)
    operation = document.operation_by_id.get(exchange.request.operation_id or "")
    if operation is not None:
        statuses = schemas.status_is_documented
        yield statuses, statuses.judge(exchange, operation=operation)
        for shape in (schemas.body, schemas.headers):
            yield shape, shape.judge(exchange, operation=operation, shapes=shapes)


def judge_by_common_checks(
    exchange: Exchange, *, recorder: Recorder, document: Document, shapes: ShapeJudge
) -> list[Finding]:
    """Have every common check judge an exchange, and record what it claims and what it shows.

    Returns:
        The findings that fail the run.
    """
    recorder.gatherer.add(exchange)
    return [
        finding
        for check, claims in common_claims(exchange, document=document, shapes=shapes)
        for finding in recorder.record(check, exchange, claims)
    ]
