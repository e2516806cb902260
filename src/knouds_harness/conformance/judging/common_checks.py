"""The checks that apply to every exchange, whoever sent its request, and what they claim of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from knouds_harness.conformance.checks import schemas
from knouds_harness.conformance.checks.envelopes import form
from knouds_harness.conformance.judging.claim import Check, Claim
from knouds_harness.contract.document import Document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange

_ON_EVERY_EXCHANGE: Final = (
    form.no_server_error,
    form.json_content_type,
    form.json_object,
    form.envelope,
    form.no_internals,
    form.context_fields,
    form.throttled_headers,
)
COMMON_CHECKS: Final[tuple[Check[...], ...]] = (
    *_ON_EVERY_EXCHANGE,
    form.code_fits_status,
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
    codes = form.code_fits_status
    yield codes, codes.judge(exchange, catalogue=document.error_codes)
    operation = document.operation_by_id.get(exchange.request.operation_id or "")
    if operation is not None:
        statuses = schemas.status_is_documented
        yield statuses, statuses.judge(exchange, operation=operation)
        for shape in (schemas.body, schemas.headers):
            yield shape, shape.judge(exchange, operation=operation, shapes=shapes)
