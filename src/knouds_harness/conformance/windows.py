"""One window of an account's rate limit: begun, filled, and over, by a clock that moves or by the real one.

On a target whose clock can't be moved this takes up to two windows' time, and only the account's own requests
may count: where another client uses it too, or the runs are too slow for a window, it is untested.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from knouds_harness.conformance.checks.rate_limits import (
    ends_apart,
    is_admitted,
    is_same_window,
    seconds_left,
    standing_of,
)
from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.needs import CONTROL
from knouds_harness.conformance.patience import told_wait_s
from knouds_harness.conformance.probe import UNTESTED, Probe
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.contract.tiers import WINDOW_S
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.target.personas import Persona
from knouds_harness.target.resources import Workflow

_FRESH_S = WINDOW_S - 8  # a window with less left may have been begun by others
_LINGER_S = 6
_MARGIN_S = 5  # what is sent so shortly before a window's end may come after it
_ATTEMPTS = 2


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window on the run endpoint of workflows.

    Attributes:
        workflow: What is run to fill it.
        persona: Whose account it is of.
    """

    probe: Probe
    subjects: Subjects
    persona: Persona
    workflow: Workflow

    def run(self, persona: Persona | None = None) -> Exchange:
        """Run once, and take a 429 for an answer."""
        return self.subjects.run(self.workflow, persona or self.persona, is_throttling_expected=True)

    def begin(self) -> Exchange:
        """The first run of a new window."""
        if CONTROL.find(self.probe.target) is not None:
            self.probe.next_window()
            return self.run()
        first = self.run()
        for _ in range(_ATTEMPTS):
            if self._is_first(first):
                return first
            if is_admitted(first) and seconds_left(first, advanced_s=0) is None:
                pytest.skip(f"{UNTESTED}headers that say when a window ends")
            self.probe.wait(self._until_next_s(first))
            first, before = self.run(), first
            self.probe.judge(ends_apart, first, earlier=before)
        pytest.skip(f"{UNTESTED}a window that nobody else uses: the first run of one was told {_told(first)}")

    def fill(self, first: Exchange, times: int) -> list[Exchange]:
        """As many runs more as have to be admitted, some at a time; the first began the window."""
        if not is_admitted(first):
            pytest.skip(f"{UNTESTED}a run that costs nothing: it was answered {answer(first)}")
        limits = self.probe.target.limits
        if CONTROL.find(self.probe.target) is None:
            expected_s = times * first.elapsed_ms / 1000 / self.probe.most_at_once
            expected_s = max(expected_s, times / limits.requests_per_s if limits.requests_per_s else 0.0)
            if expected_s > WINDOW_S - 2 * _MARGIN_S - _LINGER_S:
                pytest.skip(f"{UNTESTED}runs quick enough: {times + 1} would take {expected_s:.0f} s")
            self._require_credits(times)
        answers = self.probe.send_together(*self.subjects.running(self.workflow, self.persona), times=times)
        for each in answers:
            self.probe.judge(ends_apart, each, earlier=first)
            if not is_admitted(each) and each.status != 429:  # what such a one counts is open
                pytest.skip(f"{UNTESTED}runs that succeed: one was answered {answer(each)}")
        return answers

    def linger(self) -> None:
        """Let some seconds of the window pass.

        Where a window slides, what is sent after them still counts when a fixed one is over.
        """
        self.probe.patience.pass_time(_LINGER_S)

    def require_open(self, first: Exchange, last: Exchange) -> None:
        """Untested unless the window is still open some seconds after its last answer."""
        left = seconds_left(last, advanced_s=self.probe.advanced_s)
        is_one = is_same_window(last, first) or not is_admitted(last)
        if CONTROL.find(self.probe.target) is None and not (is_one and left is not None and left > _MARGIN_S):
            pytest.skip(f"{UNTESTED}runs quick enough to fill a window: it was over before")

    def outlast(self, refused: Exchange) -> None:
        """Wait for as long as a refusal says, and a second, as seconds are rounded."""
        self.probe.patience.pass_time(min(told_wait_s(refused), WINDOW_S) + 1)

    def _is_first(self, exchange: Exchange) -> bool:
        standing, left = standing_of(exchange), seconds_left(exchange, advanced_s=0)
        if not is_admitted(exchange) or standing.limit is None or left is None:
            return False
        return standing.remaining == standing.limit - 1 and left > _FRESH_S

    def _until_next_s(self, exchange: Exchange) -> float:
        if exchange.status == 429:
            return told_wait_s(exchange) + 1
        left = seconds_left(exchange, advanced_s=0)
        return min(max(left, 0), WINDOW_S) + 1 if left is not None else WINDOW_S + 1

    def _require_credits(self, times: int) -> None:
        cost_credits = self.probe.price(self.workflow) * times
        left_credits = self.probe.client.guard.budget.left_credits
        if cost_credits > left_credits:
            pytest.skip(f"{UNTESTED}credits for {times} runs: {cost_credits:g} needed, {left_credits:g} left")


def _told(exchange: Exchange) -> str:
    standing = standing_of(exchange)
    return f"{standing.remaining} of {standing.limit} left"
