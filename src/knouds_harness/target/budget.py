"""The budget: credits are reserved before a request is sent, and settled when its price is known.

Amounts are counted as whole parts of a credit, so that 0.1 + 0.2 fit into 0.3: exact, and cheaper than
decimal sums, as load counts with each request.
"""

from __future__ import annotations

import math
import threading
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final

from knouds_harness.errors import GuardStop

_PARTS: Final = 10**18
"""Of a credit; an amount with more decimals than 18 is rounded up."""
_MOST: Final = 1e300
"""A server that says it charged more, or not a number, has said nothing."""


class Budget:
    """Credits that one thread may spend; see ``SharedBudget`` for several.

    Reserving refuses whatever could overspend even if every open reservation is used to the full, so the
    order in which answers come does not matter.
    """

    def __init__(self, limit_credits: float) -> None:
        """Start with nothing spent."""
        self._limit = self._left = _parts(limit_credits)
        self._spent = 0

    @property
    def spent_credits(self) -> float:
        """What has been charged, or may have been, so far."""
        return self._spent / _PARTS

    @property
    def left_credits(self) -> float:
        """What can still be reserved."""
        return max(0, self._left) / _PARTS

    def extend(self, credits_more: float) -> None:
        """Allow so many more to be spent."""
        more = _parts(credits_more)
        self._limit += more
        self._left += more

    def reserve(self, cost_credits: float, *, what: str = "a request", source: Path | None = None) -> int:
        """Set the most that a request may cost aside.

        Args:
            cost_credits: Not negative; 0 is always granted.
            what: The request in words, for the message.
            source: The profile that sets the limit, for the message.

        Returns:
            The reservation, for ``settle``; ``credits_of`` says how much it is.

        Raises:
            GuardStop: It does not fit into what is left.
        """
        if not cost_credits:
            return 0
        amount = _parts(cost_credits)
        if amount > self._left:
            raise GuardStop(
                f"{what}: may cost {_words(amount)} credits, and {_words(max(0, self._left))} "
                f"of {_words(self._limit)} are left\n"
                f"  Raise limits.credits{f' in {source}' if source else ''}, or send less."
            )
        self._left -= amount
        return amount

    def settle(self, reserved: int, actual_credits: float | None) -> None:
        """Turn a reservation into what was charged.

        Args:
            reserved: What ``reserve`` returned; to be settled once.
            actual_credits: What the server says it charged, perhaps more than was reserved; None where it
                does not say: then the whole reservation counts as spent.
        """
        spent = reserved
        if actual_credits is not None and 0 <= actual_credits <= _MOST:
            spent = _parts(actual_credits)
            self._left += reserved - spent
        self._spent += spent


class SharedBudget(Budget):
    """A budget that several threads may spend."""

    def __init__(self, limit_credits: float) -> None:
        """Start with nothing spent."""
        super().__init__(limit_credits)
        self._lock = threading.Lock()

    def extend(self, credits_more: float) -> None:
        """Allow so many more to be spent."""
        with self._lock:
            super().extend(credits_more)

    def reserve(self, cost_credits: float, *, what: str = "a request", source: Path | None = None) -> int:
        """See ``Budget.reserve``."""
        with self._lock:
            return super().reserve(cost_credits, what=what, source=source)

    def settle(self, reserved: int, actual_credits: float | None) -> None:
        """See ``Budget.settle``."""
        with self._lock:
            super().settle(reserved, actual_credits)


def credits_of(reserved: int) -> float:
    """How much a reservation is."""
    return reserved / _PARTS


@lru_cache(maxsize=1024)  # prices are few, and load asks for them all the time
def _parts(amount: float) -> int:
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{amount} is no amount of credits")
    return math.ceil(Decimal(str(amount)) * _PARTS)


def _words(amount: int) -> str:
    return f"{(Decimal(amount) / _PARTS).normalize():f}"
