"""The budget is never overspent, in whatever order responses come."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knouds_harness.errors import CreditsShort, GuardStop
from knouds_harness.targets.budget import Budget


def spending(*settled: tuple[float, float | None], limit: float = 60) -> Budget:
    """Make a budget with runs reserved and settled like this."""
    budget = Budget(limit)
    for reserved, actual in settled:
        budget.settle(budget.reserve(reserved), actual)
    return budget


@pytest.mark.parametrize("said", [None, float("nan"), float("inf"), -3.0, 10**400])
def test_unknown_or_invalid_price_counts_as_the_highest(said: float | None):
    assert spending((6, said), limit=10).spent_credits == 6


@pytest.mark.parametrize("next_cost", [0, 1])
def test_nothing_is_reserved_once_the_limit_is_exceeded(next_cost):
    """Not even a free run; the message names the charge and the run."""
    budget = Budget(20)
    budget.settle(budget.reserve(1), 12, what="POST /run (x00007)")
    budget.settle(0, 13, what="POST /run (x00008)")

    with pytest.raises(GuardStop) as stop:
        budget.reserve(next_cost)

    assert str(stop.value).startswith(
        "POST /run (x00008): charged 13 credits, but could cost at most 0; with it 25 of 20 are charged\n"
    )
    assert budget.spent_credits == 25


def test_overcharge_within_the_limit_does_not_end_the_run():
    """A check must be able to see that runs cost too much; the limit still holds."""
    budget = spending((1, 12), limit=20)

    budget.reserve(8)
    with pytest.raises(CreditsShort):
        budget.reserve(1)


def test_rounding_error_over_the_limit_ends_all_runs():
    budget = spending((0.3, 0.1 + 0.2), limit=0.3)

    with pytest.raises(GuardStop, match="No further run is sent"):
        budget.reserve(0)


def test_extended_budget_grants_a_refused_run():
    budget = Budget(1)
    with pytest.raises(GuardStop):
        budget.reserve(3)

    budget.extend(2)

    budget.reserve(3)
    assert budget.left_credits == 0


@pytest.mark.parametrize(("unread", "spent"), [((), 6), (("una",), 14), (("una", "ada"), 17)])
def test_only_runs_of_accounts_that_cannot_be_read_count_in_full(unread, spent):
    """What their responses called free may have been charged, and usage would not show it."""
    budget = Budget(20)
    budget.settle(budget.reserve(8), 6, account="ada")
    budget.settle(budget.reserve(1), 0, account="ada")
    budget.settle(budget.reserve(8), 0, account="una")

    budget.note_usage(0 if "ada" in unread else 6, unread=unread)

    assert budget.spent_credits == spent


def test_charge_that_usage_shows_counts_beside_an_account_that_cannot_be_read():
    budget = Budget(20)
    budget.settle(budget.reserve(3), 3, account="una")
    budget.settle(budget.reserve(3), 3, account="ada")

    budget.note_usage(5, unread=["una"])

    assert budget.spent_credits == 8


def test_settled_usage_gives_back_what_was_counted_untold():
    """Of a run without a stated cost the reservation counts until then; a stated cost counts for good."""
    budget = Budget(100)
    budget.settle(budget.reserve(30), None, account="ada")
    budget.settle(budget.reserve(8), 6, account="ada")

    budget.note_usage(16, settled_rows=0)  # it hides the run
    assert budget.spent_credits == 36
    budget.note_usage(16, settled_rows=2)

    assert (budget.spent_credits, budget.given_back_credits) == (16, 22)
    budget.note_usage(2, settled_rows=2)
    assert budget.spent_credits == 6


# --- Plans: the server counts its charges itself, when a request arrives


@dataclass(frozen=True)
class Planned:
    """One run of a plan, in hundredths of a credit; charged before the response, which may state that."""

    price: int
    charged: int
    is_told: bool

    @property
    def told_credits(self) -> float | None:
        return self.charged / 100 if self.is_told else None


@st.composite
def planned_runs(draw, *, most_over=0):
    """Draw runs that are refused, charged in part or in full, or up to ``most_over`` beyond."""
    price = draw(st.integers(0, 900))
    refused, full = Planned(price, 0, is_told=True), Planned(price, price, is_told=draw(st.booleans()))
    partly = Planned(price, draw(st.integers(0, price)), is_told=draw(st.booleans()))
    over = Planned(price, price + draw(st.integers(1, most_over)), is_told=True) if most_over else full
    return draw(st.sampled_from([refused, full, partly, over]))


STEPS = st.tuples(
    st.integers(0, 3), st.sampled_from(["send", "send", "answer", "leave", "crash"]), planned_runs()
)


@settings(max_examples=1_000)
@given(limit=st.integers(0, 3_000), steps=st.lists(STEPS, max_size=40))
def test_workers_with_leases_never_exceed_the_credits(limit, steps):
    """With runs in flight, and workers that leave in order or are lost with their grant."""
    master, charged = Budget(limit / 100), 0
    workers = [Budget(0) for _ in range(4)]
    granted: list[int] = [0] * 4
    in_flight: list[list[tuple[int, Planned]]] = [[] for _ in range(4)]

    for place, step, planned in steps:
        budget = workers[place]
        if step == "send":
            try:
                try:
                    reserved = budget.reserve(planned.price / 100)
                except CreditsShort:
                    granted[place] += master.reserve(planned.price / 100)
                    budget.extend(planned.price / 100)
                    reserved = budget.reserve(planned.price / 100)
            except CreditsShort:
                continue
            charged += planned.charged
            in_flight[place].append((reserved, planned))
        elif step == "answer" and in_flight[place]:
            reserved, answered = in_flight[place].pop(0)
            budget.settle(reserved, answered.told_credits)
        elif step in ("leave", "crash"):
            if step == "leave":
                for reserved, answered in in_flight[place]:
                    budget.settle(reserved, answered.told_credits)
                master.settle(granted[place], budget.spent_credits)
            workers[place], granted[place], in_flight[place] = Budget(0), 0, []

        assert charged <= limit

    assert master.spent_credits <= limit / 100


def spend(budget: Budget, plan: list[Planned], sent: list[Planned], stops: list[GuardStop]) -> None:
    """Send planned runs, as the client does, until a guard ends it; responses take a while."""
    for planned in plan:
        try:
            reserved = budget.reserve(planned.price / 100)
        except CreditsShort as short:
            stops.append(short)
            assert planned.price / 100 > budget.left_credits
        except GuardStop as stop:
            stops.append(stop)
            return
        else:
            sent.append(planned)
            time.sleep(0)  # let other threads run
            budget.settle(reserved, planned.told_credits)


def plans(most_over):
    return st.lists(st.lists(planned_runs(most_over=most_over), max_size=12), min_size=1, max_size=6)


@settings(deadline=None)
@given(limit=st.integers(0, 3_000), plans=plans(0) | plans(500))
@example(limit=900, plans=[[Planned(900, 0, is_told=True)] * 12] * 6)  # each fits alone
def test_threads_never_exceed_the_credits(limit, plans):
    """A run that does not fit beside those in flight waits; one that cannot fit any more is refused.

    Beyond the limit is only what the server charged above the announced price, for runs in flight.
    """
    budget = Budget(limit / 100, is_shared=True)
    sent: list[Planned] = []
    stops: list[GuardStop] = []

    with ThreadPoolExecutor(len(plans)) as threads:
        for each in [threads.submit(spend, budget, plan, sent, stops) for plan in plans]:
            each.result(timeout=20)

    over = sum(max(0, each.charged - each.price) for each in sent)
    assert sum(each.charged for each in sent) <= round(budget.spent_credits * 100) <= limit + over
    if round(budget.spent_credits * 100) > limit:
        with pytest.raises(GuardStop, match="No further run is sent"):
            budget.reserve(0)
    if all(each.told_credits == 0 and each.price <= limit for plan in plans for each in plan):
        assert not stops


# --- What usage shows


@pytest.mark.parametrize(
    ("settled", "is_due"), [([], False), ([(8, 8)], True), ([(8, None)], True), ([(0, 0)], False)]
)
def test_usage_is_read_after_the_first_paid_run(settled, is_due):
    assert spending(*settled).is_usage_due(8) is is_due


def test_usage_is_read_again_once_half_of_the_rest_is_used():
    """So a server that charges more than its responses say is found before the limit."""
    budget = spending((8, 8))
    budget.note_usage(8)

    due = []
    for _ in range(4):
        due.append(budget.is_usage_due(8))
        budget.settle(budget.reserve(8), 8)

    assert due == [False, False, False, False]
    assert budget.is_usage_due(8)


def test_usage_is_read_if_refusals_could_hide_charges():
    """Refusals are believed as long as the credits would cover their prices."""
    budget = spending((10, 10), limit=1000)
    budget.note_usage(10)

    refused = 0
    while not budget.is_usage_due(10):
        budget.settle(budget.reserve(10), 0)
        refused += 1

    assert refused == 50


def test_charges_that_only_usage_shows_are_spent():
    budget = spending((8, 0), (8, 8))
    budget.note_usage(16)
    assert (budget.spent_credits, budget.left_credits) == (16, 44)

    budget.note_usage(61)

    assert budget.spent_credits == 61
    with pytest.raises(GuardStop, match="usage shows 61 credits, but responses said 16"):
        budget.reserve(0)


@pytest.mark.parametrize("estimate", [0.01, 1, 5])
def test_runs_that_cost_more_than_responses_say_end_at_the_limit(estimate):
    """The more usage shows, the sooner it is read; at most one run is sent beyond the limit."""
    budget, charged, readings = Budget(600), 0, 0

    with suppress(GuardStop):
        while True:
            if budget.is_usage_due(estimate):
                budget.note_usage(charged)
                readings += 1
            budget.settle(budget.reserve(estimate), None)
            charged += 6

    assert charged <= 600 + 6
    assert readings < 15


@pytest.mark.parametrize(
    ("settled", "in_flight", "shown", "spent"),
    [([(8, 8)], 0, 0, 8), ([], 8, 8, 0)],
    ids=["less", "in flight"],
)
def test_usage_that_shows_no_more_than_is_reserved_changes_nothing(settled, in_flight, shown, spent):
    budget = spending(*settled)
    budget.reserve(in_flight)

    budget.note_usage(shown)

    assert budget.spent_credits == spent


def test_unreadable_usage_counts_refused_runs_at_their_price():
    """But they never exceed the limit by themselves."""
    budget = spending((8, 0), (50, 0), (50, 0))

    budget.note_usage(None)

    assert (budget.spent_credits, budget.overcharge) == (60, None)


def test_free_runs_are_doubted_ever_less_often():
    """If their charges would not fit into the credits left."""
    budget, due = Budget(0), []

    for _ in range(8):
        budget.settle(0, 0, doubted_credits=8)
        due.append(budget.is_usage_due(0))
        if due[-1]:
            budget.note_usage(0)

    assert due == [True, False, True, False, False, False, True, False]
