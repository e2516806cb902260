"""Shortening: of what broke something, only what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shorten(
    calls: Sequence[T],
    *,
    breaks: Callable[[Sequence[T]], bool],
    simpler: Callable[[T], Iterable[T]],
    is_enough: Callable[[], bool],
) -> Sequence[T]:
    """Leave calls out, then parts of calls, as long as what is left still breaks.

    Hypothesis shrinks choices, not requests, and sends thousands of them; here a sequence of ten calls is
    tried some thirty times.

    Args:
        calls: A sequence that breaks; its last call shows it and stays.
        breaks: Tries a sequence.
        simpler: The same call with a little less, in several ways.
        is_enough: Asked before each try; the shortest sequence until then is the result.
    """
    shortest = list(calls)
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for place in reversed(range(len(shortest) - 1)):
            if is_enough():
                return shortest
            candidate = shortest[:place] + shortest[place + 1 :]
            if breaks(candidate):
                shortest, is_shorter = candidate, True
    for place in range(len(shortest)):
        is_simpler = True
        while is_simpler:
            is_simpler = False
            for call in simpler(shortest[place]):
                if is_enough():
                    return shortest
                candidate = [*shortest[:place], call, *shortest[place + 1 :]]
                if breaks(candidate):
                    shortest, is_simpler = candidate, True
                    break
    return shortest
