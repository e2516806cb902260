"""Begin, fill and retry one rate-limit window of an account, by a movable clock or in real time.

In real time this takes up to two windows, and only the test's own requests may count: if another client uses
the account, or runs are too slow for a window, it is untested.
"""

from dataclasses import dataclass
from itertools import pairwise

from knouds_harness.contract.operations import WINDOW_S
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks import rate_limits
from knouds_harness.suite.support.test_data import TestData
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import CONTROL
from knouds_harness.targets.resources import Persona, Workflow

BEFORE_COUNTING = (401, 403)
"""Statuses of requests that no limit counts: the key or its capabilities were refused."""
_FRESH_S = WINDOW_S - 8  # a window with less left may have been begun by others
_LINGER_S = 6
_MARGIN_S = 5  # a request so shortly before a window's end may arrive after it
_NOT_FOR_FILLING_S = 2 * _MARGIN_S + _LINGER_S
_ATTEMPTS = 2
_ONE_BY_ONE = 12  # passes a multiple of ten, wherever it starts
_LEAST_LEFT = 10


@dataclass(frozen=True, kw_only=True)
class RateLimitWindow:
    """A window on the run endpoint of workflows."""

    tester: Tester
    test_data: TestData
    persona: Persona
    workflow: Workflow

    def run(self, persona: Persona | None = None) -> Exchange:
        """Run once, and return a 429 like any response."""
        return self.test_data.run(self.workflow, persona or self.persona, is_throttling_expected=True)

    def run_at_once(self, times: int) -> list[Exchange]:
        """Run that many times at once; runs beyond the window's limit are refused."""
        return self.tester.send_together(*self.test_data.running(self.workflow, self.persona), times=times)

    def begin(self) -> tuple[Exchange, int]:
        """Run in a window in which only this check's own runs count; return the run and how many count.

        This is a new window, or one that this check began and that still lasts long enough to be filled.
        """
        if CONTROL.find(self.tester.target) is not None:
            self.tester.next_window()
            return self.run(), 1
        first = self.run()
        for _ in range(_ATTEMPTS):
            counted = self._counted_alone(first)
            if counted is not None:
                return first, counted
            if first.is_success and _left_s(first) is None:
                raise Untested("headers that say when a window ends")
            self.tester.wait(self._until_next_s(first))
            first = self.run()
        told = rate_limits.window_headers_of(first)
        raise Untested(
            "a window that no other client uses: the first run of one was told "
            f"{told.remaining} of {told.limit} left"
        )

    def fill(self, first: Exchange, times: int) -> list[Exchange]:
        """Make ``times`` more runs that must be admitted, the first dozen one by one, the others at once.

        ``first`` is an earlier run in the same window.
        """
        if not first.is_success:
            raise Untested(f"a run that costs nothing: it was answered {first.answer}")
        if CONTROL.find(self.tester.target) is None:
            expected_s = self._expected_s(first, times)
            if expected_s > WINDOW_S - _NOT_FOR_FILLING_S:
                raise Untested(f"runs quick enough: {times + 1} would take {expected_s:.0f} s")
            needed_credits = self.tester.price(self.workflow) * times
            left_credits = self.tester.client.guard.budget.left_credits
            if needed_credits > left_credits:
                counted = f"{needed_credits:g} needed, {left_credits:g} left"
                raise Untested(f"credits for {times} runs: {counted}", "profile")
        one_by_one = [self.run() for _ in range(min(_ONE_BY_ONE, times))]
        for earlier, later in pairwise([first, *one_by_one]):
            self.tester.judge(rate_limits.remaining_falls, later, earlier=earlier)
        others = times - len(one_by_one)
        answers = [*one_by_one, *(self.run_at_once(others) if others else ())]
        for each in answers:
            if not each.is_success and each.status != 429:  # whether it counts is undocumented
                raise Untested(f"runs that succeed: one was answered {each.answer}")
        return answers

    def linger(self) -> None:
        """Let some seconds of the window pass.

        In a sliding window, later requests would still count when a fixed window is over.
        """
        self.tester.rate_limit_retry.pass_time(_LINGER_S)

    def require_open(self, first: Exchange, last: Exchange) -> None:
        """Skip the test unless the window is still open some seconds after its last response."""
        left = _left_s(last)
        is_one = rate_limits.is_same_window(last, first) or not last.is_success
        if CONTROL.find(self.tester.target) is None and not (
            is_one and left is not None and left > _MARGIN_S
        ):
            raise Untested("runs quick enough to fill a window: it ended before")

    def retry(self, refused: Exchange) -> None:
        """Wait as long as a 429 says, and another second, as seconds are rounded."""
        self.tester.rate_limit_retry.pass_time(min(refused.retry_after_s, WINDOW_S) + 1)

    def _counted_alone(self, run: Exchange) -> int | None:
        """Return how many requests the run's window has counted; None if others' may be among them.

        Whether refused requests count is undocumented, so either number may be our own.
        """
        headers, left = rate_limits.window_headers_of(run), _left_s(run)
        if not run.is_success or headers.limit is None or headers.remaining is None or left is None:
            return None
        counted = headers.limit - headers.remaining
        all_own = self.tester.runs.of(self.persona.user, "runWorkflow")
        here = sum(rate_limits.is_same_window(each, run) for each in all_own)
        self.tester.judge(rate_limits.remaining_counts, run, admitted=here, is_alone=False)
        is_wrong = counted < here  # as was just claimed; then the own runs alone can be counted
        counted = max(counted, here)
        if counted == 1:
            return counted if left > _FRESH_S else None
        own = [each for each in all_own if _is_since(each, run)]
        admitted = sum(each.is_success for each in own)
        may_count = sum(each.status not in BEFORE_COUNTING for each in own)
        possible = {admitted, may_count, len(own)}
        is_told_apart = possible.isdisjoint((counted - 1, counted + 1))  # an off-by-one header would show
        is_own = all(each.status is not None for each in own) and counted in possible
        is_known = is_own and (is_told_apart or is_wrong)
        is_long_enough = self._expected_s(run, headers.remaining) <= left - _NOT_FOR_FILLING_S
        return counted if is_known and is_long_enough and headers.remaining >= _LEAST_LEFT else None

    def _expected_s(self, run: Exchange, times: int) -> float:
        requests_per_s = self.tester.target.limits.requests_per_s
        in_a_row = _ONE_BY_ONE + max(times - _ONE_BY_ONE, 0) / self.tester.most_at_once
        expected_s = in_a_row * run.elapsed_ms / 1000
        return max(expected_s, times / requests_per_s if requests_per_s else 0.0)

    def _until_next_s(self, exchange: Exchange) -> float:
        if exchange.status == 429:
            return exchange.retry_after_s + 1
        left = _left_s(exchange)
        return min(max(left, 0), WINDOW_S) + 1 if left is not None else WINDOW_S + 1


def _left_s(exchange: Exchange) -> float | None:
    """Return how long a window that cannot be moved still lasts; None if that is not known.

    A server that sends no Date is taken to have this machine's time, if its window then ends within its
    length: no answer is judged by that.
    """
    if rate_limits.server_unix_s(exchange) is not None:
        return rate_limits.seconds_left(exchange, advanced_s=0)
    end = rate_limits.window_headers_of(exchange).reset_unix_s
    left = None if end is None else end - _answered_unix_s(exchange)
    return left if left is not None and 0 <= left <= WINDOW_S else None


def _answered_unix_s(exchange: Exchange) -> float:
    server = rate_limits.server_unix_s(exchange)
    return exchange.started_at.timestamp() + exchange.elapsed_ms / 1000 if server is None else server


def _is_since(exchange: Exchange, run: Exchange) -> bool:
    """Whether the response came after the begin of the window that a run was told of."""
    end = rate_limits.window_headers_of(run).reset_unix_s
    return end is not None and _answered_unix_s(exchange) >= end - WINDOW_S - 1
