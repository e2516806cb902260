"""The one load shape: how many users Locust has to have, second by second."""

from __future__ import annotations

from locust.shape import LoadTestShape

from knouds_harness.load.options import Options

_SPREAD_S = 2.0


class Course(LoadTestShape):
    """Follows the plan's course; in the open model all users wait for arrivals from the beginning.

    Attributes:
        ends_at_s: Seconds after the first tick at which load ends; moved once arrivals begin.
        is_over: Load ends now, whatever the time.
        is_ending: What is in flight is being finished; a second end would cut that short.
    """

    def __init__(self, options: Options) -> None:
        """Follow the options."""
        super().__init__()
        self._options = options
        self.ends_at_s = options.course.duration_s
        self.is_over = False
        self.is_ending = False

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them to start per second; None at the end."""
        if self.is_ending and self.runner is not None:
            return self.runner.shape_last_tick  # type: ignore[return-value]  # it was ours
        now_s = self.get_run_time()
        if self.is_over or now_s >= self.ends_at_s:
            return None
        users = self._options.users
        if self._options.rate is not None:
            return users, float(users)
        level = max(1, round(self._options.course.level(now_s)))
        return level, max(1.0, users / _SPREAD_S)
