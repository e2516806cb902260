"""The schedule: tests that wait begin first, and tests that count runs do so while no other test runs any."""

from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from clocks import wait_until
from example_targets import sandbox_target

from knouds_harness.contract.operations import Action
from knouds_harness.suite import schedule as schedule_module
from knouds_harness.suite.concurrent_tests import Reservations, RunLock
from knouds_harness.suite.nights import Nights
from knouds_harness.suite.running import collect_suite
from knouds_harness.suite.schedule import SuiteSchedule, arguments_of, is_about_runs
from knouds_harness.suite.selection import (
    Spending,
    checks_of,
    facts_of,
    is_paid_for,
    needs_of,
    shown_by_any_answer,
)
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.targets.needs import missing_in

SANDBOX = sandbox_target()
WITHOUT_CLOCK = replace(SANDBOX, control=None)


@pytest.fixture(scope="module")
def suite():
    return collect_suite()


def schedule_of(suite, target, *, is_quick=False, pays_last=False, is_distant=False):
    possible = [item for item in suite if all(need.missing(target) is None for need in needs_of(item))]
    tester = SimpleNamespace(need=lambda need: need.find(target), most_at_once=8)
    run: Any = SimpleNamespace(target=target, tester=tester, is_distant=is_distant)
    return SuiteSchedule(run, possible, is_quick=is_quick, pays_last=pays_last)


def marked(suite, *names):
    return [item for item in suite if any(item.get_closest_marker(name) for name in names)]


def test_window_is_filled_early_if_it_takes_real_time(suite):
    """It takes a minute if the clock cannot be moved; a quick check fills none."""
    assert schedule_of(suite, WITHOUT_CLOCK).fills_early
    assert not schedule_of(suite, WITHOUT_CLOCK, is_quick=True).fills_early
    assert not schedule_of(suite, SANDBOX).fills_early


@pytest.mark.parametrize("target", [SANDBOX, WITHOUT_CLOCK], ids=["clock moves", "clock stands"])
def test_tests_that_read_runs_start_after_tests_that_wait_for_runs(suite, target):
    """Usage pages and totals are compared when no run is in flight."""
    place = schedule_of(suite, target).place
    waits = marked(suite, "waits")
    looks = [each for each in suite if checks_of(each)[0].family == "usage" and each not in waits]

    assert looks
    assert min(map(place, looks)) > max(map(place, waits))


def test_tests_that_count_runs_of_an_account_run_alone(suite):
    """Before all tests that run side by side if a window is filled early, else after all others."""
    counts, others = marked(suite, "limited"), set(suite) - set(marked(suite, "limited", "fills_window"))
    early, late = schedule_of(suite, WITHOUT_CLOCK).place, schedule_of(suite, SANDBOX).place

    assert counts
    assert max(map(early, counts)) < min(map(early, others - set(marked(suite, "runs"))))
    assert min(map(late, counts)) > max(map(late, others))


def test_tests_without_runs_come_before_tests_that_wait(suite):
    place = schedule_of(suite, WITHOUT_CLOCK).place
    without_runs = [each for each in suite if not is_about_runs(each)]

    assert len(without_runs) > len(suite) / 3
    assert max(map(place, without_runs)) < min(map(place, marked(suite, "waits", "fills_window")))


def test_ctrl_c_between_two_starts_ends_all_tests(suite, monkeypatch):
    """No test still runs when the record is finished.

    Ctrl-C comes just when the main thread has taken the lock.
    """
    schedule = schedule_of(suite, SANDBOX)
    run = schedule._run  # noqa: SLF001 - what a whole run would hold
    run.lock, run.tester.halted_by = RunLock(), None
    run.tester.reservations = Reservations(run.lock.released)
    ended, taken = [], run.lock.held()

    def body(item, _arguments, _recorder):
        with run.lock.released():
            wait_until(lambda: run.tester.halted_by is not None)
        ended.append(item)

    def interrupt(*_, **__):
        taken.__enter__()
        raise KeyboardInterrupt

    run.recorder = None
    monkeypatch.setattr(schedule_module, "call_body", body)
    monkeypatch.setattr(schedule_module, "_values_for", lambda *_: {})
    monkeypatch.setattr(run.lock, "await_idle", interrupt)
    waits = marked(suite, "waits")

    with pytest.raises(KeyboardInterrupt):
        schedule.call(waits[0])
    schedule.stop()

    assert len(ended) == 1


def test_on_a_distant_target_nothing_runs_beside_a_test_that_it_could_disturb(suite, monkeypatch):
    """Requests at once meet without others in flight; nothing runs beside tests that count runs or rows."""
    schedule = schedule_of(suite, SANDBOX, is_distant=True)
    run = schedule._run  # noqa: SLF001 - what a whole run would hold
    run.lock, run.recorder = RunLock(), SimpleNamespace(begin_test=lambda: None)
    run.tester.reservations = Reservations(run.lock.idle)
    running: list[Any] = []
    met: set[Any] = set()

    def body(item, _arguments, _recorder):
        met.update((item, each) for each in running)
        running.append(item)
        run.lock.wait(0.001)
        met.update((item, each) for each in running if each is not item)
        running.remove(item)

    monkeypatch.setattr(schedule_module, "call_body", body)
    monkeypatch.setattr(schedule_module, "_values_for", lambda *_: {})
    monkeypatch.setattr(schedule_module, "arguments_of", lambda _: ())
    for item in sorted(suite, key=schedule.place):
        schedule.call(item)

    waits, at_once = set(marked(suite, "waits")), set(marked(suite, "at_once"))
    counting = {each for each in suite if checks_of(each)[0].family == "usage"} - waits
    counting |= set(marked(suite, "limited"))
    running_others = {each for each in suite if is_about_runs(each)} - counting
    assert len(met) > len(suite)
    assert not [pair for pair in met if at_once.intersection(pair) and waits.isdisjoint(pair)]
    assert not [pair for pair in met if counting.intersection(pair) and running_others.intersection(pair)]


def test_tests_of_another_suite_run_alone():
    other = SimpleNamespace(get_closest_marker=lambda _: None)

    assert schedule_of([], SANDBOX).place(other) == 0


def test_tests_in_threads_need_no_fixtures(suite):
    """Their arguments are parameters, or attributes of the run."""
    in_threads = marked(suite, "waits", "independent", "fills_window")

    for item in in_threads:
        own = {"run", "pytestconfig", *(item.callspec.params if hasattr(item, "callspec") else ())}
        names = set(arguments_of(item)) - own
        assert all(hasattr(ConformanceRun, name) or name in ConformanceRun.__annotations__ for name in names)


def spending_of(suite, limit_credits, target=SANDBOX, **more):
    return Spending.of(suite, target, lambda each: each.cost_credits, limit_credits=limit_credits, **more)


@pytest.mark.parametrize("limit_credits", [0, 14, 50, 400])
def test_cheapest_tests_get_the_credits_first(suite, limit_credits):
    spending, whole = spending_of(suite, limit_credits), spending_of(suite, 1e6)
    alone = [item for item in marked(suite, "spends") if not marked([item], "shares")]
    cost_by_test = {item.nodeid: sum_of_runs(item) for item in alone}

    paid = [cost for test, cost in cost_by_test.items() if test not in spending.unpaid]
    assert spending.cost_credits <= limit_credits
    assert not whole.unpaid
    assert spending.unpaid
    assert max(paid) <= min(cost for test, cost in cost_by_test.items() if test in spending.unpaid)


def facts_shown(items):
    return {fact for item in items for fact in facts_of(item)}


def test_week_of_few_credits_pays_for_a_test_of_each_fact(suite):
    """What no night pays for is named, and all else is at most a week old from then on."""
    possible, nights = [item for item in suite if not missing_in(SANDBOX, needs_of(item))], Nights()
    for number in range(14):
        today = date(2026, 11, 24) + timedelta(number)
        spending = spending_of(possible, 40, nights=nights)
        verified = facts_shown(item for item in possible if item.nodeid not in spending.unpaid)
        nights = nights.with_night(today, paid=spending.paid, verified=verified, broken=())
        if number >= 6:
            never = facts_shown(possible) - nights.verified.keys() - shown_by_any_answer()
            assert never == spending.beyond.keys()
            assert today - min(nights.verified.values()) <= timedelta(7)
    assert spending_of(possible, 14).beyond["execution.edges"] == 15


def test_executions_that_tests_share_are_paid_once(suite):
    """However many tests share them, they cost what running them once costs."""
    sharing = [item for item in marked(suite, "shares") if "executions" in item.fixturenames]
    one_alone = [item for item in sharing if item.originalname == "test_execution_ends_before_its_deadline"]

    assert len(sharing) > 5
    assert spending_of(sharing, 1e6).cost_credits == spending_of(one_alone, 1e6).cost_credits


def test_tests_of_shared_executions_say_what_they_need(suite):
    """A test that only submits executions of its own says what it spends."""
    users = [item for item in suite if {"executions", "deliveries"}.intersection(item.fixturenames)]

    assert [item.nodeid for item in users if not is_paid_for(item)] == []


def test_tests_that_pay_come_last_if_credits_are_short(suite):
    """A run that is to be refused reserves its price, which has to be left until then."""
    place = schedule_of(suite, SANDBOX, pays_last=True).place
    pays = [item for item in suite if is_paid_for(item)]
    others = set(suite) - set(pays) - set(marked(suite, "fills_window", "limited"))

    assert min(map(place, pays)) > max(map(place, others))


def sum_of_runs(item):
    runs = [run for marker in item.iter_markers("spends") for run in marker.args[0](SANDBOX)]
    return sum(each.cost_credits or 0 for each in runs)


def test_profile_without_runs_spends_nothing(suite):
    may_read = replace(SANDBOX, limits=replace(SANDBOX.limits, allow=frozenset({Action.READ})))

    spending = spending_of(suite, 1e6, may_read)

    assert (spending.cost_credits, spending.runs) == (0, ())
