"""Since when a run was steady: the beginning that differs from the rest is found, not assumed.

MSER (White 1997; by ranks, so that a stall now and then does not count as a beginning): of all beginnings up
to half of the run, leave out the one after which the mean of the rest has the smallest standard error. If
that is more than ``MOST_LEFT_OUT`` of the run, the run did not come to a steady state.
"""

from collections.abc import Sequence
from typing import Final

LEAST_SECONDS: Final = 20
"""Of less the method tells too little."""
MOST_LEFT_OUT: Final = 0.4


def steady_from(values: Sequence[float]) -> int | None:
    """The index from which on a series is steady.

    Args:
        values: One for each second; infinity where a second had none.

    Returns:
        None where it never is.
    """
    ranks = _ranks(values)
    total = len(ranks)
    best, left_out = float("inf"), 0
    sum_, squares = sum(ranks), sum(rank * rank for rank in ranks)
    for first in range(total // 2 + 1):
        rest = total - first
        error = max(0.0, squares - sum_ * sum_ / rest) / rest**2
        if error < best:
            best, left_out = error, first
        sum_ -= ranks[first]
        squares -= ranks[first] ** 2
    return None if left_out > MOST_LEFT_OUT * total else left_out


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0; equal values share the mean of theirs, or a level series would seem to rise."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for index in order[begin:end]:
            ranks[index] = (begin + end - 1) / 2
        begin = end
    return ranks
