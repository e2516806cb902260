"""The budget: credits are reserved before a request is sent, and settled when its price is known."""

from __future__ import annotations

import math
import threading
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from knouds_harness.errors import GuardStop

_NOTHING = Decimal(0)


class Budget:
    """Credits that may be spent; safe to share between threads.

    Reserving refuses whatever could overspend even if every open reservation is used to the full, so the
    order in which answers come does not matter. Amounts are decimal: 0.1 + 0.2 fit into 0.3.
    """

    def __init__(self, limit_credits: float) -> None:
        """Start with nothing spent."""
        self._limit = _exact(limit_credits)
        self._spent = _NOTHING
        self._reserved = _NOTHING
        self._lock = threading.Lock()

    @property
    def spent_credits(self) -> float:
        """What has been charged, or may have been, so far."""
        return float(self._spent)

    @property
    def left_credits(self) -> float:
        """What can still be reserved."""
        return float(max(_NOTHING, self._limit - self._spent - self._reserved))

    def extend(self, credits_more: float) -> None:
        """Allow so many more to be spent."""
        with self._lock:
            self._limit += _exact(credits_more)

    def reserve(self, cost_credits: float, *, what: str = "a request", source: Path | None = None) -> Decimal:
        """Set the most that a request may cost aside.

        Args:
            cost_credits: Not negative; 0 is always granted.
            what: The request in words, for the message.
            source: The profile that sets the limit, for the message.

        Raises:
            GuardStop: It does not fit into what is left.
        """
        if not cost_credits:
            return _NOTHING
        amount = _exact(cost_credits)
        with self._lock:
            committed = self._spent + self._reserved
            if committed + amount > self._limit:
                raise GuardStop(
                    f"{what}: may cost {amount:f} credits, and {max(_NOTHING, self._limit - committed):f} "
                    f"of {self._limit:f} are left\n"
                    f"  Raise limits.credits{f' in {source}' if source else ''}, or send less."
                )
            self._reserved += amount
        return amount

    def settle(self, reserved: Decimal, actual_credits: float | None) -> None:
        """Turn a reservation into what was charged.

        Args:
            reserved: What ``reserve`` returned; to be settled once.
            actual_credits: What the server says it charged, perhaps more than was reserved; None where it
                does not say: then the whole reservation counts as spent.
        """
        if not reserved and not actual_credits:
            return
        is_known = actual_credits is not None and math.isfinite(actual_credits) and actual_credits >= 0
        spent = _exact(actual_credits) if is_known and actual_credits is not None else reserved
        with self._lock:
            self._reserved -= reserved
            self._spent += spent


@lru_cache(maxsize=1024)  # prices are few, and load asks for them all the time
def _exact(amount: float) -> Decimal:
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{amount} is no amount of credits")
    return Decimal(str(amount))
