"""A worker's part in a distributed run: its share, its credits, and its last word."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.runners import WorkerRunner

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals import Share
from knouds_harness.load.messages import (
    ASK_CREDITS,
    ASK_SHARE,
    CREDITS,
    END,
    IS_LAST,
    SENT_AT,
    SHARE,
    SILENCE_S,
    STOP,
)
from knouds_harness.target.budget import Budget

_ANSWER_WITHIN_S: Final = 15.0


class CrewMember:
    """Takes what the master hands out, and reports to it.

    Attributes:
        budget: What it may spend: as much as it was granted.
    """

    def __init__(
        self,
        runner: WorkerRunner,
        *,
        on_share: Callable[[float, Share], None],
        on_return: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Listen to the master.

        Args:
            runner: Locust's, of a worker.
            on_share: Told when load begins or began (Unix time), and of a share, before that counts.
            on_return: Told that the master is heard after a silence in which others took the share over.
            clock: Seconds since the epoch.
        """
        self._clock = clock
        self._runner = runner
        self._on_share = on_share
        self._on_return = on_return
        self.budget = Budget(0.0)
        self._answered: Event | None = None
        self._granted = 0.0
        self._is_last = False
        self._ended: Event | None = None
        self._heard_unix_s = clock()
        events = runner.environment.events
        events.report_to_master.add_listener(self._report)
        events.heartbeat_received.add_listener(self._on_heartbeat)
        events.quitting.add_listener(lambda **_: self.end())
        runner.register_message(SHARE, self._on_share_message)
        runner.register_message(CREDITS, self._on_credits)
        runner.register_message(END, lambda **_: self.end(), concurrent=True)

    @property
    def is_alone(self) -> bool:
        """Whether the master has been silent for so long that it will take this worker for lost."""
        return self._clock() - self._heard_unix_s > SILENCE_S

    def await_company(self) -> None:
        """Return once the master is heard, at once where it is."""
        while self.is_alone:
            gevent.sleep(0.1)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """Have the master end the run."""
        self._runner.send_message(STOP, {"reason": reason, "exit_code": int(exit_code)})

    def end(self) -> None:
        """Finish what is in flight, and send the last report; who calls again waits for that too."""
        if self._ended is not None:
            self._ended.wait(_ANSWER_WITHIN_S)
            return
        self._ended = Event()
        self._runner.stop()  # gives users the stop timeout to finish
        self._is_last = True
        data: dict[str, Any] = {}
        self._runner.environment.events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)
        self._ended.set()

    # Credits

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

    # Shares and reports

    def _on_heartbeat(self, timestamp: float, **_: object) -> None:
        was_silent = timestamp - self._heard_unix_s > SILENCE_S
        self._heard_unix_s = timestamp
        if was_silent:
            self._on_return()
            self._runner.send_message(ASK_SHARE)

    def _on_share_message(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        share = Share(from_s=msg.data["from_s"], index=msg.data["index"], workers=msg.data["workers"])
        self._on_share(msg.data["start_unix_s"], share)

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[SENT_AT] = self._clock()
        data[IS_LAST] = self._is_last
