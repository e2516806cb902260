"""The one load shape: how many users Locust has to have, second by second."""

from typing import Final

from locust.shape import LoadTestShape

from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s

_SPREAD_S: Final = 2.0
_TICKS_BEYOND: Final = 60
"""So many more ticks than seconds show that the clock stands: Locust sleeps for a second between them."""


class LoadShape(LoadTestShape):
    """Follows the shape that is asked for; in the open model all users wait for arrivals from the start.

    Attributes:
        is_clock_standing: It ended because the clock of this machine stands still.
    """

    def __init__(self, options: LoadOptions) -> None:
        """Follow the options."""
        super().__init__()
        self._options = options
        self.is_clock_standing = False
        self._ticks = 0
        self._ends_at_s = options.course.duration_s  # after the first tick
        self._is_over = False
        self._is_finishing = False

    def begin(self, start_unix_s: float) -> None:
        """Begin load at this instant."""
        delay_s = start_unix_s - now_unix_s()
        self._ends_at_s = self.get_run_time() + delay_s + self._options.course.duration_s

    def end(self) -> None:
        """End load now."""
        self._is_over = True

    def finish(self) -> None:
        """Let requests in flight finish; a second end would cut that short."""
        self._is_finishing = True

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them to start per second; None at the end."""
        if self._is_finishing and self.runner is not None:
            return self.runner.shape_last_tick  # type: ignore[return-value]  # it was ours
        now_s = self.get_run_time()
        self._ticks += 1
        if self._ticks > self._ends_at_s + _TICKS_BEYOND:
            self.is_clock_standing = True
        if self._is_over or self.is_clock_standing or now_s >= self._ends_at_s:
            return None
        users = self._options.users
        if self._options.rate is not None:
            return users, float(users)
        level = max(1, round(self._options.course.level(now_s)))
        return level, max(1.0, users / _SPREAD_S)
