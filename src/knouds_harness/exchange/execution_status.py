"""The statuses of executions, and where responses show them."""

from collections.abc import Sequence
from typing import Final, TypeGuard

from knouds_harness.exchange.evidence import JSON, Exchange

IN_FLIGHT: Final = frozenset({"processing", "cancel_requested"})
FINAL: Final = frozenset({"completed", "failed", "cancelled"})
NEXT_BY_STATUS: Final = {
    "processing": IN_FLIGHT | FINAL,
    "cancel_requested": {"cancel_requested"} | FINAL,
    **{status: {status} for status in FINAL},
}
"""The statuses that may follow each status; source: docs, async executions."""


def is_final(status: object) -> TypeGuard[str]:
    """Return whether a status from a server, which may be any value, is final."""
    return isinstance(status, str) and status in FINAL


def body_of(exchange: Exchange) -> dict[str, JSON]:
    """Return the members of the body of a 2xx response; empty for any other response."""
    return exchange.members if exchange.is_success else {}


def status_in(exchange: Exchange) -> str | None:
    status = body_of(exchange).get("status")
    return status if isinstance(status, str) and status in IN_FLIGHT | FINAL else None


def statuses_in(exchanges: Sequence[Exchange]) -> list[str]:
    return [status for each in exchanges if (status := status_in(each)) is not None]
