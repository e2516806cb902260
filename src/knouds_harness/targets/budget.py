"""The budget: credits are reserved before a request is sent, and settled when its price is known.

Amounts are counted as whole parts of a credit, so that 0.1 + 0.2 fit into 0.3: exact, and cheaper than
decimal sums, as load counts with each request.
"""

import math
import threading
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, Final

from knouds_harness.errors import CreditsShort, GuardStop

_PARTS: Final = 10**18
"""Of a credit; an amount with more decimals than 18 is rounded up."""
_MOST: Final = 1e300
"""A server that says it charged more, or not a number, has said nothing."""
_SEND_LESS: Final = "Raise the limit, or send less."


class Budget:
    """Credits that one thread may spend; see ``SharedBudget`` for several.

    Reserving refuses whatever could overspend even if every open reservation is used to the full, so the
    order in which answers come does not matter. That holds as long as no run costs more than was reserved for
    it; once the limit is exceeded, nothing is reserved any more.
    """

    most_doubts: ClassVar[float] = math.inf
    """How many runs for which nothing was reserved come between two readings of usage, if these are due."""

    def __init__(self, limit_credits: float) -> None:
        self._limit = self._left = _parts(limit_credits)
        self._spent = 0
        self._overcharge: str | None = None
        self._unproven = self._unread = self._doubted = self._doubts = 0
        self._read_from = 1
        self._doubts_allowed: float = 1

    @property
    def overcharge(self) -> str | None:
        """What was charged beyond the limit, and by which request; None while the limit holds."""
        return self._overcharge

    @property
    def spent_credits(self) -> float:
        """What has been charged, or may have been, so far."""
        return self._spent / _PARTS

    @property
    def left_credits(self) -> float:
        """What can still be reserved."""
        return max(0, self._left) / _PARTS

    def extend(self, credits_more: float) -> None:
        more = _parts(credits_more)
        self._limit += more
        self._left += more

    def reserve(self, cost_credits: float, *, what: str = "a request", remedy: str = _SEND_LESS) -> int:
        """Set the most that a request may cost aside.

        Args:
            cost_credits: Not negative; 0 is granted whatever is left.
            what: The request in words, for the message.
            remedy: What to do where it does not fit, for the message.

        Returns:
            The reservation, for ``settle``; ``credits_of`` says how much it is.

        Raises:
            CreditsShort: It does not fit into what is left.
            GuardStop: A run has cost more than was reserved for it.
        """
        if self._overcharge is not None:
            raise GuardStop(self._overcharge)
        if not cost_credits:
            return 0
        amount = _parts(cost_credits)
        if amount > self._left:
            raise CreditsShort(
                f"{what}: may cost {_words(amount)} credits, and {_words(max(0, self._left))} "
                f"of {_words(self._limit)} are left\n  {remedy}"
            )
        self._left -= amount
        return amount

    def settle(
        self,
        reserved: int,
        actual_credits: float | None,
        *,
        what: str = "a request",
        doubted_credits: float = 0.0,
    ) -> None:
        """Turn a reservation into what was charged.

        Args:
            reserved: What ``reserve`` returned; to be settled once.
            actual_credits: What the server says it charged, perhaps more than was reserved, which beyond the
                limit ends all reserving; None where it does not say: then the whole reservation counts.
            what: The request in words, for the message.
            doubted_credits: What it may have cost where nothing was reserved, by the dearest known price.
        """
        spent = reserved
        if actual_credits is not None and 0 <= actual_credits <= _MOST:
            spent = _parts(actual_credits)
            self._left += reserved - spent
        self._spent += spent
        self._unproven += max(0, reserved - spent)
        self._unread += max(reserved, spent)
        if not reserved and doubted_credits:
            self._doubted += _parts(doubted_credits)
            self._doubts += 1
        if self._spent > self._limit:
            self.stop(f"{what}: charged {_words(spent)} credits, and could cost {_words(reserved)} at most")

    def is_usage_due(self, cost_credits: float) -> bool:
        """Whether usage has to be read before so much is reserved.

        It is after the first paid run; whenever half of what was left has been used, the sooner the more
        usage showed beyond that the last time; and where what answers said was not charged would not fit
        into what is left. Of runs for which nothing was reserved, twice as many may come between as were
        free the last time.
        """
        is_unproven = self._unproven > 0 and self._unproven + _parts(cost_credits) > self._left
        is_doubted = self._doubts >= self._doubts_allowed and self._doubted > self._left
        return is_unproven or is_doubted or self._unread >= self._read_from

    def note_usage(self, shown_credits: float | None) -> None:
        """Count what usage shows beyond what is spent and reserved.

        Args:
            shown_credits: Of all runs so far; None where usage cannot be read: then what was reserved counts,
                and not what answers said.
        """
        if shown_credits is None:
            excess = min(self._unproven, max(0, self._left))
        else:
            excess = max(0, _parts(min(shown_credits, _MOST)) - (self._limit - self._left))
        counted = self._spent
        self._spent += excess
        self._left -= excess
        self._doubts_allowed = 1 if excess else min(2 * self._doubts_allowed, self.most_doubts)
        told = max(1, self._unread)
        self._read_from = max(1, self._left * told // (told + excess) // 2)
        self._unproven = self._unread = self._doubted = self._doubts = 0
        if shown_credits is not None and self._spent > self._limit:
            self.stop(
                f"usage shows {_words(_parts(shown_credits))} credits, and answers told of {_words(counted)}"
            )

    def stop(self, reason: str) -> None:
        """Reserve nothing any more, not even for what is free; of several reasons the first stands."""
        self._overcharge = self._overcharge or (
            f"{reason}\n  {_words(self._spent)} of {_words(self._limit)} credits are spent. No further run "
            "is sent. If that is the price, write it into the profile: cost_credits."
        )


class SharedBudget(Budget):
    """A budget that several threads may spend; each settles what it reserved before it reserves more.

    What does not fit waits as long as it may fit once others have settled.
    """

    most_doubts = 8

    def __init__(self, limit_credits: float) -> None:
        super().__init__(limit_credits)
        self._changed = threading.Condition(threading.RLock())  # settling may stop

    def extend(self, credits_more: float) -> None:
        """See ``Budget.extend``."""
        with self._changed:
            super().extend(credits_more)
            self._changed.notify_all()

    def reserve(self, cost_credits: float, *, what: str = "a request", remedy: str = _SEND_LESS) -> int:
        """See ``Budget.reserve``."""
        amount = _parts(cost_credits)
        with self._changed:
            self._changed.wait_for(
                lambda: self._overcharge or amount <= self._left or amount > self._limit - self._spent
            )
            return super().reserve(cost_credits, what=what, remedy=remedy)

    def settle(
        self,
        reserved: int,
        actual_credits: float | None,
        *,
        what: str = "a request",
        doubted_credits: float = 0.0,
    ) -> None:
        """See ``Budget.settle``."""
        with self._changed:
            super().settle(reserved, actual_credits, what=what, doubted_credits=doubted_credits)
            self._changed.notify_all()

    def note_usage(self, shown_credits: float | None) -> None:
        """See ``Budget.note_usage``."""
        with self._changed:
            super().note_usage(shown_credits)
            self._changed.notify_all()

    def stop(self, reason: str) -> None:
        """See ``Budget.stop``."""
        with self._changed:
            super().stop(reason)
            self._changed.notify_all()


def credits_of(reserved: int) -> float:
    """How much a reservation is."""
    return reserved / _PARTS


@lru_cache(maxsize=1024)  # prices are few, and load asks for them all the time
def _parts(amount: float) -> int:
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{amount} is not an amount of credits")
    return math.ceil(Decimal(str(amount)) * _PARTS)


def _words(amount: int) -> str:
    return f"{(Decimal(amount) / _PARTS).normalize():f}"
