"""The one place where checks are run on an exchange: each that applies, and whose knowledge is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check, Claim, is_answer
from knouds_harness.judging.context import Case, Context


def judge(exchange: Exchange, context: Context) -> Iterator[tuple[Check[...], Claim]]:
    """What all checks claim of one exchange, in the order in which they are written.

    Args:
        exchange: A whole answer, or a delivery to a webhook.
        context: What is known besides; a check that has to know more makes no claim.
    """
    case = Case(exchange=exchange, context=context)
    for check in _checks():
        if check.applies_to(case):
            for claim in check.claims_of(case):
                yield check, claim


def claims_of(check_id: str, exchange: Exchange, context: Context) -> list[Claim] | None:
    """What one check claims of an exchange to which it applies; None where it has to know more."""
    context = replace(context, applying=context.applying | {check_id})
    check = next((each for each in _checks() if each.id == check_id), None)
    if check is None or check.lacks_knowledge(Case(exchange=exchange, context=context)):
        return None
    return [claim for each, claim in judge(exchange, context) if each is check]


def checks_of_every_answer() -> tuple[Check[...], ...]:
    """The checks that apply to every answer, whatever its request was sent for."""
    return tuple(check for check in _checks() if check.applies is is_answer)


@cache
def _checks() -> tuple[Check[...], ...]:
    return tuple(all_checks().values())
