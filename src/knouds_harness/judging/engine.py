"""The one place where checks are run on an exchange: each that applies, and whose knowledge is there."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check, Claim, is_answer
from knouds_harness.judging.context import Case, Context

_checks = cache(all_checks)


def judge(exchange: Exchange, context: Context) -> Iterator[tuple[Check[...], Claim]]:
    """What all checks claim of one exchange, in the order in which they are written."""
    case = Case(exchange=exchange, context=context)
    for check in _checks().values():
        if check.applies_to(case):
            for claim in check.claims_of(case):
                yield check, claim


def claims_of(check_id: str, exchange: Exchange, context: Context) -> list[Claim] | None:
    """What one check claims of an exchange to which it applies; None where it has to know more."""
    case = Case(exchange=exchange, context=replace(context, applying=context.applying | {check_id}))
    check = _checks().get(check_id)
    return None if check is None or check.lacks_knowledge(case) else list(check.claims_of(case))


def checks_of_every_answer() -> tuple[Check[...], ...]:
    """The checks that apply to every answer, to any request."""
    return checks_that_apply(is_answer)


def checks_that_apply(when: Callable[[Case], object]) -> tuple[Check[...], ...]:
    """The checks that say this of when they apply."""
    return tuple(check for check in _checks().values() if check.applies is when)
