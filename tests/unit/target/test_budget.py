"""The budget is never overspent, whatever the order of answers."""

import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from knouds_harness.errors import GuardStop
from knouds_harness.target.budget import Budget, SharedBudget, credits_of

amounts = st.floats(0, 1000, allow_nan=False).map(lambda amount: round(amount, 3))


class SpendingMachine(RuleBasedStateMachine):
    """Reserve and settle in any order; the model adds up with exact fractions of its own."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.limit = Decimal(1000)
        self.budget = Budget(1000)
        self.charged = Decimal(0)
        self.open: list[tuple[int, Decimal]] = []

    @rule(target=reservations, cost=amounts)
    def reserve(self, cost: float):
        fits = self.charged + sum(price for _, price in self.open) + Decimal(str(cost)) <= self.limit

        try:
            reserved = self.budget.reserve(cost)
        except GuardStop:
            assert not fits
            return (0, Decimal(0), 0.0)

        assert fits or not cost
        assert credits_of(reserved) == cost
        price = Decimal(str(cost))
        self.open.append((reserved, price))
        return (reserved, price, cost)

    @rule(reservation=consumes(reservations), share=st.sampled_from([None, 0, 0.25, 1]))
    def settle(self, reservation: tuple[int, Decimal, float], share: float | None):
        reserved, price, cost = reservation
        actual = None if share is None else cost * share

        self.budget.settle(reserved, actual)

        if (reserved, price) in self.open:
            self.open.remove((reserved, price))
            self.charged += price if actual is None else Decimal(str(actual))

    @invariant()
    def is_never_overspent(self):
        assert Decimal(str(self.budget.spent_credits)) <= self.limit
        assert float(self.charged) == self.budget.spent_credits


TestSpending = SpendingMachine.TestCase


def test_decimal_amounts_add_up():
    """Ten times 0.1 fit into 1."""
    budget = Budget(1)

    for _ in range(10):
        budget.settle(budget.reserve(0.1), 0.1)

    assert budget.left_credits == 0


def test_reservation_counts_until_it_is_settled():
    """Two runs in flight cannot both take the last credits."""
    budget = Budget(10)
    first = budget.reserve(6)

    with pytest.raises(GuardStop, match="may cost 6 credits, and 4 of 10 are left"):
        budget.reserve(6)

    budget.settle(first, 2)
    budget.reserve(6)


def test_price_that_nobody_says_counts_as_the_worst():
    """Without a price in the answer the whole reservation is spent."""
    budget = Budget(10)

    budget.settle(budget.reserve(6), None)

    assert budget.spent_credits == 6


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -3.0, 10**400])
def test_nonsense_price_counts_as_the_worst(nonsense: float):
    """A server cannot refill the budget, nor break it."""
    budget = Budget(10)

    budget.settle(budget.reserve(6), nonsense)

    assert budget.spent_credits == 6


def test_overcharge_is_counted_in_full():
    """A server that charges more than announced brings the stop nearer."""
    budget = Budget(10)
    budget.settle(budget.reserve(1), 12)

    with pytest.raises(GuardStop, match="0 of 10 are left"):
        budget.reserve(1)


@given(limit=amounts)
def test_free_requests_are_always_granted(limit: float):
    """What costs nothing needs no credits."""
    assert Budget(limit).reserve(0) == 0


def test_extended_budget_grants_what_it_refused():
    """Credits may come little by little."""
    budget = Budget(1)
    with pytest.raises(GuardStop):
        budget.reserve(3)

    budget.extend(2)

    budget.reserve(3)
    assert budget.left_credits == 0


def test_fine_amounts_add_up():
    """As exactly as a server can print them."""
    budget = Budget(1e12)

    for _ in range(3):
        budget.settle(budget.reserve(0.3333333333333333), 0.3333333333333333)
    budget.settle(budget.reserve(1), 0.0000000000000001)

    assert budget.spent_credits == 1.0


def test_threads_cannot_overspend_together():
    """Each takes one credit at a time, and all of them together take what there is."""
    budget = SharedBudget(1000)

    def take(_: int) -> int:
        taken = 0
        for _ in range(400):
            try:
                budget.settle(budget.reserve(1), None)
            except GuardStop:
                break
            taken += 1
        return taken

    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(take, range(8))) == 1000
    finally:
        sys.setswitchinterval(usual_s)
    assert (budget.spent_credits, budget.left_credits) == (1000, 0)
