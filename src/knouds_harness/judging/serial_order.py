"""Whether some serial order explains the answers to requests that overlapped.

Each request took effect at one moment between its being sent and its being answered; a history is sound if
the requests can be put in such an order that a model which knows one request at a time gives each its answer
(Wing and Gong, 1993). Why this is our own: docs/decisions/serial-orders.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from knouds_harness.exchange.evidence import Exchange

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")

_CLOCK_S = 0.001  # how exactly the instants of exchanges are taken to be known


@dataclass(frozen=True, kw_only=True)
class TimedRequest(Generic[T]):
    """One request of a history.

    Attributes:
        began_s: Before this instant it cannot have taken effect; in seconds on the history's clock.
        ended_s: Nor after this one; infinite where it may still be on its way.
        what: The request and its answer, as the model understands them.
    """

    began_s: float
    ended_s: float
    what: T


def is_certain(exchange: Exchange) -> bool:
    """Whether an answer says what became of the request: a 5xx, or none, leaves that open."""
    return exchange.status is not None and exchange.status < 500


def steps_of(exchanges: Iterable[Exchange]) -> list[TimedRequest[Exchange]]:
    """Exchanges as a history. One that is not certain may take effect at any time later, or never."""
    steps = []
    for exchange in exchanges:
        began_s = exchange.started_at.timestamp()
        ended_s = began_s + exchange.elapsed_ms / 1000 + _CLOCK_S if is_certain(exchange) else math.inf
        steps.append(TimedRequest(began_s=began_s, ended_s=ended_s, what=exchange))
    return steps


def serial_order(
    steps: Sequence[TimedRequest[T]], *, initial: S, outcomes: Callable[[S, T], Iterable[S]]
) -> list[TimedRequest[T]] | None:
    """An order of the steps that the model explains.

    The time it takes may double with each step that overlaps all others: this is for histories of some ten.

    Args:
        steps: In any order.
        initial: The model's state before all of them.
        outcomes: The states that may follow from a state and a step; none where the step's answer cannot be
            given in that state. Several where it is open what the step did.

    Returns:
        All the steps, none of them before one that had ended when it began; None if there is no such order.
    """
    everything = (1 << len(steps)) - 1
    is_dead_end: set[tuple[int, S]] = set()

    def order_after(done: int, state: S) -> list[TimedRequest[T]] | None:
        if done == everything:
            return []
        if (done, state) in is_dead_end:
            return None
        waiting = [number for number in range(len(steps)) if not done >> number & 1]
        first_end_s = min(steps[number].ended_s for number in waiting)
        for number in waiting:
            if steps[number].began_s > first_end_s:
                continue  # another one had ended before this one began
            for following in outcomes(state, steps[number].what):
                rest = order_after(done | 1 << number, following)
                if rest is not None:
                    return [steps[number], *rest]
        is_dead_end.add((done, state))
        return None

    return order_after(0, initial)
