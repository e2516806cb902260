"""What a check says of one answer by itself, and which of it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from knouds_harness.conformance.judging.claim import Check, Claim
from knouds_harness.exchange.evidence import Exchange


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a check claims of one answer.

    Attributes:
        check: None where none applies.
        claims: Of which only those count that do not hold, where ``is_partial``: one answer can break the
            promise, and more than one is needed to see it kept.
    """

    check: Check[...] | None
    claims: Iterator[Claim]
    is_partial: bool = False

    def counted(self) -> Iterator[Claim]:
        """The claims that count."""
        return (claim for claim in self.claims if not (self.is_partial and claim.holds))


def judged(check: Check[[]] | None, exchange: Exchange, *, is_partial: bool = False) -> Judgement:
    """What a check that takes nothing but the answer claims of it."""
    claims = check.judge(exchange) if check else iter(())
    return Judgement(check=check, claims=claims, is_partial=is_partial)
