"""The order of the tests of a run, and which of them run side by side."""

import inspect
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, Final

import pytest

from knouds_harness.contract.operations import LIMIT_BY_TIER
from knouds_harness.errors import HarnessError
from knouds_harness.suite.concurrent_tests import ConcurrentTests
from knouds_harness.suite.selection import checks_of, is_paid_for, needs_of, operation_of
from knouds_harness.suite.session import ConformanceRun
from knouds_harness.suite.support.rate_limit_window import BEFORE_COUNTING
from knouds_harness.suite.test_invocation import call_body, is_user_test
from knouds_harness.targets.needs import CONTROL, MAY_RUN, Need
from knouds_harness.targets.needs.rate_limits import FILLABLE_WINDOW

_LEFT_TO_FILL: Final = 30  # the test must see the window fill up, and concurrent runs may overshoot
_LONGEST_PRELUDE_S: Final = 15.0
_PAUSE_S: Final = 0.05
_BEFORE_FILLING: Final = 1
_INDEPENDENT: Final = 2
_COUNTS_RUNS: Final = 8
_READS_USAGE: Final = 9
_PAID_LAST: Final = 10
_BESIDE_COUNTING: Final = 12


class SuiteSchedule:
    """When each test of a session runs.

    Attributes:
        fills_early: A rate-limit window is filled in real time, so this begins as early as possible.
    """

    def __init__(
        self,
        run: ConformanceRun,
        items: Collection[pytest.Item],
        *,
        is_quick: bool,
        is_one_by_one: bool = False,
        pays_last: bool = False,
    ) -> None:
        self._run = run
        self._pays_last = pays_last
        self._items = [item for item in items if isinstance(item, pytest.Function) and checks_of(item)]
        self._beside: dict[str, ConcurrentTests] = {}
        self._has_begun = is_one_by_one
        self._is_side_by_side = run.is_distant and not is_one_by_one
        self._later: dict[int, list[pytest.Function]] = {}
        self.fills_early = (
            not (is_quick or is_one_by_one)
            and CONTROL.find(run.target) is None
            and any(item.get_closest_marker("fills_window") for item in self._items)
        )

    def place(self, item: pytest.Item) -> int:
        """Return a test's position: tests that use others' waiting time precede those that look at all runs.

        On a distant target, independent tests that run nothing run beside those that count runs, which send
        little at a time. Tests of another suite come first, as no other test may run beside them. If the
        credits do not suffice for all, tests that pay come last: a run that is to be refused reserves its
        price until it is.
        """
        if not checks_of(item) or is_user_test(item):
            return 0
        early, marker = self.fills_early, item.get_closest_marker
        about_runs, independent = is_about_runs(item), marker("independent")
        needs_all = marker("thorough") or marker("at_once")  # of what may be in flight
        is_bystander = self._is_side_by_side and not (about_runs or marker("in_a_row"))
        places = (
            (marker("fills_window"), 6 if early else 14),
            (marker("limited"), _BEFORE_FILLING if early else 13 if needs_all else 11),
            (self._pays_last and is_paid_for(item), _PAID_LAST),
            (marker("runs") and early, _BEFORE_FILLING),  # with few runs, which fit into the first window
            (marker("waits"), 5),
            (independent and checks_of(item)[0].family == "usage", _READS_USAGE),
            (independent and is_bystander, _BESIDE_COUNTING),
            (independent, _INDEPENDENT),
            (about_runs, 7 if marker("at_once") else _COUNTS_RUNS),
        )
        return next((place for applies, place in places if applies), 3)

    def call(self, item: pytest.Function) -> None:
        """Call the body of a test; if it has already begun beside others, wait until it ends."""
        place = self.place(item)
        if not self._has_begun and place != _BEFORE_FILLING:
            self._has_begun = True
            self._begin_early()
        for begins_at in [each for each in self._later if each <= place]:
            self._begin(self._later.pop(begins_at))
        if item.nodeid in self._beside:
            self._beside[item.nodeid].finish(item)
            return
        # Whatever runs beside a test that counts runs should run nothing; if it does, it waits.
        is_counting = place >= _COUNTS_RUNS
        alone = self._run.tester.reservations.made(()) if is_counting else nullcontext()
        with self._run.lock.held(), alone:
            arguments = {name: item.funcargs[name] for name in arguments_of(item)}
            call_body(item, arguments, self._run.recorder)

    def stop(self) -> None:
        """Start no more tests, and end the running ones at their next request."""
        self._run.lock.give_up()
        groups = set(self._beside.values())
        if groups:
            self._run.tester.halted_by = HarnessError("the run was stopped")
            self._run.lock.end_waits()
            self._run.tester.reservations.end()
        for each in groups:
            each.stop()

    def spares_runs(self, item: pytest.Item) -> bool:
        """Return whether a test runs with the account whose window is filled, and so should run little."""
        if not self.fills_early or not item.get_closest_marker("independent"):
            return False
        account = self._run.tester.need(FILLABLE_WINDOW).user
        found = [need.find(self._run.target) for need in needs_of(item) if _asks_for_runs(need)]
        return any(getattr(getattr(each, "key", each), "user", None) == account for each in found)

    def _begin_early(self) -> None:
        """Begin what runs beside all other tests: what waits, and on a distant target what is independent.

        If a window is filled in real time, it takes runs that have to be made anyway until it is nearly full.
        Then the test that fills it has it alone: other runs of the account wait for the next one.
        """
        independent = sorted(self._at(_INDEPENDENT), key=_requests_in_a_row, reverse=True)
        begun = [item for item in self._items if not (self._pays_last and is_paid_for(item))]
        # Tests about usage come first, as they keep others from running what they run.
        waiting = sorted(
            (item for item in begun if item.get_closest_marker("waits")),
            key=lambda item: checks_of(item)[0].family != "usage",
        )
        if self.fills_early:
            self._begin([item for item in independent if is_about_runs(item)])
            self._await_use()
            waiting = [*(each for each in self._items if each.get_closest_marker("fills_window")), *waiting]
            independent = [item for item in independent if not is_about_runs(item)]
        self._begin(waiting, at_once=len(waiting), in_order=True)
        if self._is_side_by_side:
            self._begin(independent)
            self._later = {_COUNTS_RUNS: self._at(_BESIDE_COUNTING), _READS_USAGE: self._at(_READS_USAGE)}

    def _at(self, place: int) -> list[pytest.Function]:
        return [item for item in self._items if self.place(item) == place]

    def _begin(
        self, items: Sequence[pytest.Function], *, at_once: int | None = None, in_order: bool = False
    ) -> None:
        if not items:
            return
        run = self._run

        def call(item: pytest.Function) -> None:
            try:
                call_body(item, _values_for(item, run), run.recorder)
            finally:
                run.recorder.begin_test()  # an idle thread keeps no responses

        # Some tests more than requests in flight, as one computes, and others wait for what is made once.
        most_at_once = at_once or run.tester.most_at_once * 5 // 4
        group = ConcurrentTests(call=call, lock=run.lock, most_at_once=most_at_once)
        self._beside |= {item.nodeid: group for item in items}  # before it begins, so that Ctrl-C stops it
        group.begin(items, in_order=in_order)

    def _await_use(self) -> None:
        """Wait until the window has few requests left, or the tests that use it have ended."""
        persona, waited_s = self._run.tester.need(FILLABLE_WINDOW), 0.0
        while not all(each.are_done for each in self._beside.values()) and waited_s < _LONGEST_PRELUDE_S:
            runs = self._run.tester.runs.of(persona.user, "runWorkflow")
            may_count = sum(each.status not in BEFORE_COUNTING for each in runs)
            if may_count >= LIMIT_BY_TIER["pro"] - _LEFT_TO_FILL or any(each.status == 429 for each in runs):
                break
            self._run.lock.wait(_PAUSE_S)
            waited_s += _PAUSE_S


def is_about_runs(item: pytest.Item) -> bool:
    """Return whether a test may run something, such as an execution to look at, or looks at past runs."""
    operation = operation_of(item)
    return (
        item.get_closest_marker("runs") is not None
        or (operation is not None and operation.path_parameters == ("id",))
        or checks_of(item)[0].family == "usage"
        or any(map(_asks_for_runs, needs_of(item)))
    )


def _requests_in_a_row(item: pytest.Item) -> int:
    marker = item.get_closest_marker("in_a_row")
    return marker.args[0] if marker else 0


@cache
def _asks_for_runs(need: Need[Any]) -> bool:
    return need.says == MAY_RUN.says or any(map(_asks_for_runs, need.also))


def arguments_of(item: pytest.Function) -> tuple[str, ...]:
    return tuple(inspect.signature(item.obj).parameters)


def _values_for(item: pytest.Function, run: ConformanceRun) -> dict[str, object]:
    """Return a test's arguments without pytest's fixtures: its parameters, and attributes of the run."""
    own = {"run": run, "pytestconfig": item.config}
    own |= item.callspec.params if hasattr(item, "callspec") else {}
    return {name: own[name] if name in own else getattr(run, name) for name in arguments_of(item)}
