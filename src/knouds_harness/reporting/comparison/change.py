"""How much a figure changed, how sure that is, and what it means (docs/decisions/comparing-runs.md)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from statistics import fmean, variance
from typing import Final

PRIOR_DEGREES: Final = 10
"""The weight of the expected noise, as a number of runs."""
UNBOUNDED: Final = math.log(1000)
"""The largest change that is reported, as a logarithm: two runs that disagree bound nothing."""
_STEPS: Final = 200
_POWER_ERRORS: Final = 0.84
"""Standard errors beyond the bound at which a change shows four times in five."""


@dataclass(frozen=True, kw_only=True)
class RunFigure:
    """One measure of one run.

    Attributes:
        error: Its standard error: that of the logarithm, except for a share.
        hidden: By how much it may be higher, as a logarithm, for what was not sent; at most ``UNBOUNDED``.
    """

    value: float
    error: float
    hidden: float = 0.0


class ChangeVerdict(StrEnum):
    """What a change means.

    Attributes:
        WORSE: The interval lies on the worse side of no change, and the change is more than is tolerated.
        BETTER: The same on the better side.
        SAME: The whole interval is within what is tolerated.
        NO_EVIDENCE: It is none of the others.
    """

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    NO_EVIDENCE = "no evidence"


@dataclass(frozen=True, kw_only=True)
class FigureChange:
    """The change from baseline to candidate: a share of the baseline's value or, for shares, a difference.

    Attributes:
        noise: The standard deviation from run to run.
        is_noise_seen: Runs were repeated, so that the noise was measured rather than expected.
        visible: The smallest worsening that such data would show four times in five.
    """

    estimate: float
    low: float
    high: float
    noise: float
    is_noise_seen: bool
    visible: float

    def verdict(self, *, tolerance: float, is_more_worse: bool) -> ChangeVerdict:
        if -tolerance <= self.low and self.high <= tolerance:
            return ChangeVerdict.SAME
        if abs(self.estimate) <= tolerance or self.low <= 0 <= self.high:
            return ChangeVerdict.NO_EVIDENCE
        return ChangeVerdict.WORSE if (self.estimate > 0) is is_more_worse else ChangeVerdict.BETTER


def change_between(
    baseline: Sequence[RunFigure],
    candidate: Sequence[RunFigure],
    *,
    is_share: bool,
    expected_noise: float,
    confidence: float,
    is_more_worse: bool = True,
) -> FigureChange:
    """Compare the runs of two sides.

    A moderated t-test: the variance from run to run is the one seen between the runs of a side. If that is
    smaller than the variance that the blocks within the runs and the expected noise suggest, it is their
    weighted mean. So one run per side can be compared too, and a few runs that happen to agree prove nothing.

    Each side has a figure for each run, at least one. Of shares the difference counts, not the ratio.
    ``expected_noise`` is the standard deviation from run to run beyond what blocks show, on the scale of
    ``error``.
    """
    sides = [
        [each.value if is_share else math.log(each.value) for each in side] for side in (baseline, candidate)
    ]
    within = fmean(each.error**2 for each in (*baseline, *candidate)) + expected_noise**2
    seen_degrees = sum(len(side) - 1 for side in sides)
    run_variance, degrees = within, PRIOR_DEGREES
    if seen_degrees:
        seen = sum(variance(side) * (len(side) - 1) for side in sides if len(side) > 1) / seen_degrees
        if seen > within:
            run_variance, degrees = seen, seen_degrees
        else:
            degrees = PRIOR_DEGREES + seen_degrees
            run_variance = (PRIOR_DEGREES * within + seen_degrees * seen) / degrees
    error = math.sqrt(run_variance * sum(1 / len(side) for side in sides))
    half = two_sided_quantile(confidence, degrees) * error
    difference = fmean(sides[1]) - fmean(sides[0])
    less, more = (fmean(each.hidden for each in side) for side in (baseline, candidate))
    worst = (half + _POWER_ERRORS * error) * (1 if is_more_worse else -1)

    def plain(number: float) -> float:
        return (
            max(-1.0, min(number, 1.0)) if is_share else math.expm1(max(-UNBOUNDED, min(number, UNBOUNDED)))
        )

    return FigureChange(
        estimate=plain(difference),
        low=plain(difference - half - less),
        high=plain(difference + half + more),
        noise=plain(math.sqrt(run_variance)),
        is_noise_seen=seen_degrees > 0,
        visible=abs(plain(worst)),
    )


def share_within(t: float, degrees: int) -> float:
    """Return the probability that a value of Student's distribution lies between ``-t`` and ``t``.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(angle)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = 0.0
    for power in range(2 if is_odd else 1, degrees, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if is_odd else total


@cache
def two_sided_quantile(confidence: float, degrees: int) -> float:
    """Return how many standard errors to each side hold this share of Student's distribution."""
    low, high = 0.0, 1.0
    while share_within(high, degrees) < confidence:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if share_within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high
