"""Why something cannot be tested: what is missing, and whether the profile or the target is the cause."""

from collections.abc import Sequence
from typing import Any

from knouds_harness.exchange.profile_check import Contradiction, without
from knouds_harness.runs.run_file import MORE_CREDITS, Cause
from knouds_harness.targets.needs import Need
from knouds_harness.targets.profile import Target

_MOST_NAMED = 3


class Untested(BaseException):  # Hypothesis takes an Exception for a failure, and tries again
    """Ends a test that needs something missing; the pytest plugin turns it into a skip."""

    def __init__(self, missing: str, cause: Cause = "answers") -> None:
        super().__init__(missing)
        self.missing = missing
        self.cause = cause

    @property
    def is_unpaid(self) -> bool:
        return self.missing.startswith((MORE_CREDITS, "credits for "))


def more_credits(target: Target) -> str:
    return f"{MORE_CREDITS} the {target.limits.credits:,.10g} that {target.limits.credits_by} allows"


def untested_for(
    need: Need[Any], *, profile: Target, contradictions: Sequence[Contradiction] = ()
) -> Untested:
    """Return why a need is not met: the profile lacks it, or the target contradicts the profile there."""
    missing = need.missing(profile)
    if not contradictions or missing is not None:
        return Untested(missing or need.says, "profile")
    alone = [each for each in contradictions if need.missing(without(profile, [each])) is not None]
    blamed = (alone or contradictions)[:_MOST_NAMED]
    named = "; ".join(f"{each.where} as the profile has it, but {each.target_says}" for each in blamed)
    return Untested(named, "contradiction")
