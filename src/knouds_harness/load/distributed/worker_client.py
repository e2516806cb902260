"""A worker's side of a distributed run: its share, its credits, and what its reports carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event
from locust.runners import WorkerRunner

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.distributed.messages import ASK_CREDITS, CREDITS, SENT_AT, SHARE, SILENCE_S, STOP
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.targets.budget import Budget

_ANSWER_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5


class WorkerRun(Protocol):
    """What a worker client needs of its process's run."""

    def take_share(self, start_unix_s: float, share: Share) -> object:
        """Serve a share of what begins at this Unix time."""

    def report(self) -> Mapping[str, Any]:
        """What there is to report since the last time, besides what Locust reports."""


class WorkerClient:
    """Takes what the master hands out, and reports to it.

    Attributes:
        budget: What it may spend: as much as it was granted.
    """

    def __init__(
        self, runner: WorkerRunner, run: WorkerRun, *, clock: Callable[[], float] = now_unix_s
    ) -> None:
        """Listen to the master.

        Args:
            runner: Locust's, of a worker.
            run: This process's run.
            clock: Seconds since the epoch.
        """
        self._clock = clock
        self._runner = runner
        self._run = run
        self.budget = Budget(0.0)
        self._answered: Event | None = None
        self._granted = 0.0
        self._heard_unix_s = clock()
        events = runner.environment.events
        events.report_to_master.add_listener(self._report)
        events.heartbeat_received.add_listener(self._on_heartbeat)
        runner.register_message(SHARE, self._on_share)
        runner.register_message(CREDITS, self._on_credits)
        gevent.spawn(self._watch_master)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """Have the master end the run."""
        self._runner.send_message(STOP, {"reason": reason, "exit_code": int(exit_code)})

    def ask_ahead(self) -> None:
        """Ask for credits before they are needed, unless that was done."""
        if self._answered is None and self.budget.left_credits <= self._granted / 2:
            self._ask(0.0, "")

    def get_credits(self, needed: float, *, what: str) -> bool:
        """Get more from the master, and wait for them.

        Args:
            needed: At least so many.
            what: The request in words, for the message where there are none.

        Returns:
            Whether it is worth trying again.
        """
        answered = self._answered
        if answered is not None:  # others wait too, or it was asked ahead
            return answered.wait(_ANSWER_WITHIN_S)
        return self._ask(needed, what).wait(_ANSWER_WITHIN_S) and self._granted > 0

    def _ask(self, needed: float, what: str) -> Event:
        self._answered = answered = Event()
        self._runner.send_message(ASK_CREDITS, {"needed": needed, "what": what})
        return answered

    def _on_credits(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        self._granted = float(msg.data["granted"])
        self.budget.extend(self._granted)
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.set()

    def _on_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        share = Share(index=msg.data["index"], workers=msg.data["workers"])
        self._run.take_share(msg.data["start_unix_s"], share)

    def _on_heartbeat(self, timestamp: float, **_: object) -> None:
        self._heard_unix_s = timestamp

    def _watch_master(self) -> None:
        while self._clock() - self._heard_unix_s <= SILENCE_S:
            gevent.sleep(_LOOK_EVERY_S)
        self.stop(
            f"Ended early: worker {self._runner.client_id} did not hear the master for {SILENCE_S:.0f} s.",
            ExitCode.INVALID_MEASUREMENT,
        )
        self._runner.quit()  # nobody would count what is sent

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data.update(self._run.report())
        data[SENT_AT] = self._clock()
