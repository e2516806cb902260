"""The budget: credits are reserved before a request is sent, and settled once its price is known.

Amounts are whole numbers of tiny parts of a credit, so sums are exact (0.1 + 0.2 fits into 0.3), and cheaper
than decimals: load adds one per request.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Collection
from contextlib import nullcontext
from decimal import Decimal
from functools import lru_cache
from types import TracebackType
from typing import Final

from knouds_harness.errors import CreditsShort, GuardStop

_PARTS: Final = 10**18
"""Parts of one credit; an amount with more than 18 decimals is rounded up."""
_MOST: Final = 1e300
"""A larger charge, or one that is not a number, counts as no information from the server."""
_MOST_DOUBTS_OF_THREADS: Final = 8
"""The most runs without a reservation between two readings of usage."""
_SEND_LESS: Final = "Raise the limit, or send less."


class _Turns(threading.Condition):
    """One thread at a time; those that wait look again after each turn."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.notify_all()
        super().__exit__(kind, error, trace)


class Budget:
    """Credits that may be spent, by several threads if it is shared.

    A reservation is refused if it could overspend, assuming that every open reservation is used in full. So
    the order of responses does not matter. If a run costs more than was reserved for it, the limit can be
    exceeded; then every further reservation is refused. If it is shared, ``reserve`` waits while the amount
    may still fit once other threads have settled; a thread settles its reservation before the next one.
    """

    def __init__(self, limit_credits: float, *, is_shared: bool = False) -> None:
        self._most_doubts = _MOST_DOUBTS_OF_THREADS if is_shared else math.inf
        self._turns = _Turns(threading.RLock()) if is_shared else nullcontext()  # settle calls stop
        self._limit = self._left = _parts(limit_credits)
        self._spent = 0
        self._overcharge: str | None = None
        self._reserved = self._told = self._untold_runs = 0
        self._spent_by: defaultdict[str | None, int] = defaultdict(int)
        self._unproven_by: defaultdict[str | None, int] = defaultdict(int)
        self._unread = self._doubted = self._doubts = 0
        self._read_from = 1
        self._doubts_allowed: float = 1

    @property
    def overcharge(self) -> str | None:
        """Why nothing can be reserved any more, such as a charge over the limit; None if it can."""
        return self._overcharge

    @property
    def spent_credits(self) -> float:
        return self._spent / _PARTS

    @property
    def given_back_credits(self) -> float:
        """The credits that were reserved for runs that have ended, and not spent."""
        return max(0, self._reserved - self._spent) / _PARTS

    @property
    def left_credits(self) -> float:
        return max(0, self._left) / _PARTS

    def extend(self, credits_more: float) -> None:
        more = _parts(credits_more)
        with self._turns:
            self._limit += more
            self._left += more

    def reserve(self, cost_credits: float, *, what: str = "a request", remedy: str = _SEND_LESS) -> int:
        """Set aside the most that a request may cost; 0 is always granted.

        Returns the reservation, for ``settle``. ``what`` and ``remedy`` are for the message of a refusal.

        Raises:
            CreditsShort: The cost exceeds the credits that are left.
            GuardStop: The limit has been exceeded (see ``overcharge``).
        """
        amount = _parts(cost_credits)
        with self._turns:
            if isinstance(self._turns, _Turns):
                self._turns.wait_for(
                    lambda: self._overcharge or amount <= self._left or amount > self._limit - self._spent
                )
            if self._overcharge is not None:
                raise GuardStop(self._overcharge)
            if amount and amount > self._left:
                raise CreditsShort(
                    f"{what}: may cost {_words(amount)} credits, but only {_words(max(0, self._left))} "
                    f"of {_words(self._limit)} are left\n  {remedy}"
                )
            self._left -= amount
        return amount

    def settle(
        self,
        reserved: int,
        actual_credits: float | None,
        *,
        account: str | None = None,
        what: str = "a request",
        doubted_credits: float = 0.0,
    ) -> None:
        """Replace a reservation by the actual charge.

        If the server reports none (None), the whole reservation counts. It may report more than was reserved;
        beyond the limit, that ends reserving. ``account`` is charged, as in ``note_usage``; None if that is
        not known. If nothing was reserved, the run may have cost ``doubted_credits``: the highest price.
        """
        with self._turns:
            spent = reserved
            if actual_credits is not None and 0 <= actual_credits <= _MOST:
                spent = _parts(actual_credits)
                self._left += reserved - spent
                self._told += spent
            elif reserved:
                self._untold_runs += 1
            self._reserved += reserved
            self._spent += spent
            self._spent_by[account] += spent
            if spent < reserved:
                self._unproven_by[account] += reserved - spent
            self._unread += max(reserved, spent)
            if not reserved and doubted_credits:
                self._doubted += _parts(doubted_credits)
                self._doubts += 1
            if self._spent > self._limit:
                self.stop(
                    f"{what}: charged {_words(spent)} credits, but could cost at most {_words(reserved)}; "
                    f"with it {_words(self._spent)} of {_words(self._limit)} are charged"
                )

    def is_usage_due(self, cost_credits: float) -> bool:
        """Return whether usage has to be read before this amount is reserved.

        It is due after the first paid run, then whenever half of the remaining credits have been used, or
        sooner if usage last showed more than responses did. It is also due if this amount, plus the reserved
        credits that responses said were not charged, exceeds what is left. After each reading that shows no
        excess, twice as many runs without a reservation may come before the next one.
        """
        unproven = sum(self._unproven_by.values())
        is_unproven = unproven > 0 and unproven + _parts(cost_credits) > self._left
        is_doubted = self._doubts >= self._doubts_allowed and self._doubted > self._left
        return is_unproven or is_doubted or self._unread >= self._read_from

    def note_usage(
        self, shown_credits: float | None, *, unread: Collection[str] = (), settled_rows: int | None = None
    ) -> None:
        """Count the credits that usage shows beyond those spent and reserved.

        What responses to runs of an unread account said was not charged counts as charged, and nothing of any
        other account does. ``shown_credits`` is None if the usage of no account can be read. ``settled_rows``
        is how many runs usage shows once no charge can come and nothing more is sent: if it shows all that
        told no charge, then what was counted for them and is not shown was not charged.
        """
        with self._turns:
            counted = self._spent
            if shown_credits is None:
                excess = min(sum(self._unproven_by.values()), max(0, self._left))
            else:
                shown = _parts(min(shown_credits, _MOST))
                of_unread = sum(self._spent_by[each] for each in unread)
                excess = max(0, shown - (self._limit - self._left - of_unread))
                for account in unread:
                    unproven = min(self._unproven_by[account], max(0, self._left - excess))
                    self._spent_by[account] += unproven
                    excess += unproven
                if settled_rows is not None and settled_rows >= self._untold_runs:
                    self._spent -= max(0, self._spent - max(self._told, shown + of_unread))
            self._spent += excess
            self._left -= excess
            self._doubts_allowed = 1 if excess else min(2 * self._doubts_allowed, self._most_doubts)
            told = max(1, self._unread)
            self._read_from = max(1, self._left * told // (told + excess) // 2)
            self._unread = self._doubted = self._doubts = 0
            self._unproven_by.clear()
            if shown_credits is not None and self._spent > self._limit:
                usage = _words(_parts(shown_credits))
                self.stop(f"usage shows {usage} credits, but responses said {_words(counted)}")

    def stop(self, reason: str) -> None:
        """Refuse all further reservations, even of 0 credits; the first of several reasons is kept."""
        with self._turns:
            self._overcharge = self._overcharge or (
                f"{reason}\n  No further run is sent. Raise the limit; if a profile's resource costs that "
                "much, write it there: cost_credits."
            )


def credits_of(reserved: int) -> float:
    return reserved / _PARTS


@lru_cache(maxsize=1024)  # prices are few, and load converts them all the time
def _parts(amount: float) -> int:
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{amount} is not an amount of credits")
    return math.ceil(Decimal(str(amount)) * _PARTS)


def _words(amount: int) -> str:
    return f"{(Decimal(amount) / _PARTS).normalize():f}"
