"""Statuses of executions, and where answers show them."""

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
"""What may be shown after each status; source: docs, async executions."""


def is_final(status: object) -> TypeGuard[str]:
    """Whether what a server shows as a status, which may be any value, ends an execution."""
    return isinstance(status, str) and status in FINAL


def body_of(exchange: Exchange) -> dict[str, JSON]:
    """The members of a success's body; empty for anything else."""
    return exchange.members if exchange.is_success else {}


def status_in(exchange: Exchange) -> str | None:
    """The documented execution status that an answer shows, if it shows one."""
    status = body_of(exchange).get("status")
    return status if isinstance(status, str) and status in IN_FLIGHT | FINAL else None


def statuses_in(exchanges: Sequence[Exchange]) -> list[str]:
    """The documented statuses that answers show, in their order; what shows none is left out."""
    return [status for each in exchanges if (status := status_in(each)) is not None]
