"""Quantiles of Student's t distribution, for whole degrees of freedom."""

from __future__ import annotations

import math
from functools import cache
from typing import Final

_STEPS: Final = 200


def share_within(t: float, degrees: int) -> float:
    """The probability that a value of the distribution lies within ``-t`` and ``t``.

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
    """How many standard errors to each side hold so much of the distribution.

    Args:
        confidence: Over 0, and under 1.
        degrees: Of freedom, at least one.
    """
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
