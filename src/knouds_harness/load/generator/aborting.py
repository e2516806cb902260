"""``--abort-on``: objectives whose miss over ten seconds ends a run early."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from knouds_harness.load.collection.seconds import Second
from knouds_harness.load.collection.summary import Summary
from knouds_harness.measures.objectives import Objective, judge_objectives
from knouds_harness.runs.load_results import JudgedObjective

WINDOW_S: Final = 10


class AbortWatch:
    """Looks at the last ten seconds, as soon as so many are over."""

    def __init__(self, bounds: Sequence[Objective], *, from_unix_s: float = 0.0) -> None:
        """Look at nothing yet.

        Args:
            bounds: What has to hold of each operation.
            from_unix_s: What is before does not count, such as a warm-up.
        """
        self._bounds = bounds
        self._from_unix_s = from_unix_s
        self._window: deque[Second] = deque()
        self._looked_unix_s = 0

    def missed(self, second: Second) -> JudgedObjective | None:
        """The first bound that is missed over the window that ends with this second."""
        if not self._bounds or second.unix_s < self._from_unix_s:
            return None
        self._window.append(second)
        newest = max(each.unix_s for each in self._window)
        while self._window[0].unix_s <= newest - WINDOW_S:
            self._window.popleft()
        if newest - self._from_unix_s < WINDOW_S - 1 or newest == self._looked_unix_s:
            return None
        self._looked_unix_s = newest
        summary = Summary(start_unix_s=0, warm_up_s=0)
        for each in self._window:
            list(summary.add(each))
        judged = judge_objectives(self._bounds, summary.operations(WINDOW_S))
        return next((each for each in judged if not each.is_met and each.observed is not None), None)
