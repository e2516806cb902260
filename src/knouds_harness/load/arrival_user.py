"""Locust users that wait for arrivals instead of thinking, where there are arrivals."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

import gevent
from locust.env import Environment

from knouds_harness.load.arrivals import Schedule, Share, arrivals_of
from knouds_harness.load.dispatcher import Dispatcher
from knouds_harness.load.timer import open_timer
from knouds_harness.load.users import KnoudsUser


class Arrivals:
    """The arrivals of one process: its share of a schedule, handed to its idle users.

    Attributes:
        schedule: The whole.
        shares: Which of its arrivals are this process's; grows as workers come and go.
        timer: What drives it, for the record.
        are_over: The schedule has ended, or was stopped.
    """

    def __init__(self, schedule: Schedule, *, on_taken: Callable[[float], None]) -> None:
        """Begin with nothing due.

        Args:
            schedule: The whole.
            on_taken: Told for each arrival by how many seconds it was taken late.
        """
        self.schedule = schedule
        self.shares: list[Share] = []
        self.dispatcher = Dispatcher(on_taken=on_taken)
        self.timer = ""
        self.are_over = False
        self._serving: gevent.Greenlet[..., None] | None = None

    def begin(self, at_s: float, share: Share) -> None:
        """Take a share of the schedule.

        Args:
            at_s: When the schedule starts, in seconds of ``time.perf_counter``; as at the first call.
            share: From when on, and of how many.
        """
        self.shares.append(share)
        if self._serving is None:
            self._serving = gevent.spawn(self._serve, at_s)

    def stop(self) -> None:
        """Hand nothing over any more."""
        self.are_over = True

    def _serve(self, start_s: float) -> None:
        due = (start_s + instant_s for instant_s in arrivals_of(self.shares, self.schedule))
        with open_timer() as timer:
            self.timer = timer.precision
            self.dispatcher.serve(due, timer=timer, is_stopped=lambda: self.are_over)
        self.are_over = True


class ArrivalUser(KnoudsUser):
    """In the open model, serves one arrival at a time: waits for it, runs one task, waits for the next.

    Arrivals come on a schedule, whatever the answers do. The number of users is the most that can be in
    flight; an arrival that finds none idle is dropped and counted. The response time of a task's first
    request counts from the instant at which the arrival was due, so a server that stalls is charged for all
    who would have come meanwhile.

    Without arrivals it is a user of the closed model, who thinks for ``wait_time`` between tasks.
    """

    abstract = True

    arrivals: ClassVar[Arrivals | None] = None
    """Those of this process; the plugin sets it where a rate is asked for."""

    load_run: ClassVar[Any] = None
    """The run of this process, if the locustfile has the plugin."""

    chance: ClassVar[random.Random] = random.Random()
    """Draws what is up to chance; the plugin seeds it."""

    def __init__(self, environment: Environment) -> None:
        """Wait for nothing yet."""
        super().__init__(environment)
        self._own_tasks: list[Any] = self.tasks
        self._is_idle = False
        if self.arrivals is not None:
            self.wait_time = lambda: 0.0  # type: ignore[method-assign]  # Locust asks the instance
            self.tasks = [type(self).serve_one]  # Locust runs one task after another; each awaits its arrival

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002 - as Locust's own
        """Stop after the task at hand, or at once where there is none."""
        return bool(super().stop(force=force or self._is_idle))

    def serve_one(self) -> None:
        """Wait for an arrival and run a task for it."""
        assert self.arrivals is not None  # noqa: S101 - else nobody calls this
        self._is_idle = True
        self.client.scheduled_at = self.arrivals.dispatcher.await_arrival()
        self._is_idle = False
        task = self.chance.choice(self._own_tasks)
        if hasattr(task, "tasks"):
            task(self).run()  # a TaskSet
        else:
            task(self)
