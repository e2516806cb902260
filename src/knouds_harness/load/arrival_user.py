"""Locust users that wait for arrivals instead of thinking, where there are arrivals."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import gevent
from locust.env import Environment

from knouds_harness.load.arrivals import Portion, Schedule, Share
from knouds_harness.load.dispatcher import Dispatcher
from knouds_harness.load.timer import open_timer
from knouds_harness.load.users import KnoudsUser

_LOOK_EVERY_S: Final = 0.1


class Arrivals:
    """The arrivals of one process: its share of a schedule, handed to its idle users.

    Attributes:
        schedule: The whole.
        portion: What of it is this process's.
        dispatcher: Hands them over.
        start_s: When the schedule starts or started, in seconds of ``time.perf_counter``.
        timer: What drives it, for the record.
        are_over: The schedule has ended, or was stopped.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        on_taken: Callable[[float], None],
        is_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin with nothing due.

        Args:
            schedule: The whole.
            on_taken: Told for each arrival by how many seconds it was taken late.
            is_alone: Whether those who share the schedule have lost this process, and serve its arrivals.
        """
        self.schedule = schedule
        self.portion = Portion(schedule)
        self.dispatcher = Dispatcher(on_taken=on_taken)
        self.start_s = 0.0
        self.timer = ""
        self.are_over = False
        self._is_alone = is_alone
        self._serving: gevent.Greenlet[..., None] | None = None

    def begin(self, at_s: float, share: Share) -> None:
        """Take a share of the schedule.

        Args:
            at_s: When the schedule starts, in seconds of ``time.perf_counter``; as at the first call.
            share: From when on, and of how many.
        """
        self.portion.give(share)
        if self._serving is None:
            self.start_s = at_s
            self._serving = gevent.spawn(self._serve)

    def give_up(self) -> None:
        """Leave what is due to others, until there is another share."""
        self.portion.give_up()

    def stop(self) -> None:
        """Hand nothing over any more."""
        self.are_over = True

    def _serve(self) -> None:
        start_s = self.start_s
        end_s = start_s + self.schedule.shape.duration_s
        with open_timer() as timer:
            self.timer = timer.precision
            while not self.are_over:
                self.dispatcher.serve(
                    (start_s + instant_s for instant_s in self.portion.instants()),
                    timer=timer,
                    is_stopped=lambda: self.are_over,
                    is_moved=lambda due_s: self.portion.is_moved(due_s - start_s),
                    is_off=self._is_off,
                )
                if time.perf_counter() >= end_s:
                    self.are_over = True
                gevent.sleep(_LOOK_EVERY_S)  # another worker's share may become its own

    def _is_off(self) -> bool:
        if self._is_alone():
            self.portion.give_up()
        return self.portion.is_given_up


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
