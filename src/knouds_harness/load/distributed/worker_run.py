"""A worker's part of a run: its share of the load, its credits, and what its reports carry."""

from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import WorkerRunner

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.collection.second import Second, now_unix_s
from knouds_harness.load.distributed.messages import (
    ASK_CREDITS,
    CREDITS,
    HEALTH,
    OBSERVATIONS,
    SAMPLES,
    SENT_AT,
    SHARE,
    SILENCE_S,
    STOP,
)
from knouds_harness.load.generator.load_run import LoadRun, RunSetup
from knouds_harness.load.invariants.verification import open_verification
from knouds_harness.targets.budget import Budget

_ANSWER_WITHIN_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.5


class LeasedCredits:
    """Credits that the master hands out, some at a time."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self.budget = Budget(0.0)
        self._answered: Event | None = None
        self._granted = 0.0
        runner.register_message(CREDITS, self._on_credits)

    def ask_ahead(self) -> None:
        """Ask for credits before they are needed, unless that was done."""
        if self._answered is None and self.budget.left_credits <= self._granted / 2:
            self._ask(0.0, "")

    def get_credits(self, needed: float, *, what: str) -> bool:
        """Get more from the master, and wait for them; return whether to try again."""
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


class WorkerRun(LoadRun):
    """Sends its share of the load, and reports to the master, which leads the run."""

    def __init__(
        self, environment: Environment, setup: RunSetup, *, clock: Callable[[], float] = now_unix_s
    ) -> None:
        runner = environment.runner
        assert isinstance(runner, WorkerRunner)  # noqa: S101 - this is its role
        self._runner = runner
        index = runner.worker_index
        super().__init__(environment, setup, lease=LeasedCredits(runner), worker_index=index)
        self.verification = open_verification(setup.options, setup.target, self._scenarios, process=index)
        self._clock = clock
        self._heard_unix_s = clock()
        environment.events.report_to_master.add_listener(self._report)
        environment.events.heartbeat_received.add_listener(self._on_heartbeat)
        runner.register_message(SHARE, self._on_share)
        gevent.spawn(self._watch_master)

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        self._runner.send_message(STOP, {"reason": reason, "exit_code": int(exit_code)})

    def add_second(self, second: Second) -> None:
        """Count nothing here: the master counts what this process reports."""

    def _on_share(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        share = Share(index=msg.data["index"], workers=msg.data["workers"])
        self.take_share(msg.data["start_unix_s"], share)

    def _on_heartbeat(self, timestamp: float, **_: object) -> None:
        self._heard_unix_s = timestamp

    def _watch_master(self) -> None:
        while self._clock() - self._heard_unix_s <= SILENCE_S:
            gevent.sleep(_LOOK_EVERY_S)
        self.stop(
            f"Ended early: worker {self._runner.client_id} did not hear the master for {SILENCE_S:.0f} s.",
            ExitCode.INVALID_MEASUREMENT,
        )
        self._runner.quit()  # what it sends would not be counted

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[HEALTH] = self.health().packed()
        if self.samples:
            data[SAMPLES] = self.samples.packed()
        if self.verification:
            data[OBSERVATIONS] = self.verification.take().packed()
        data[SENT_AT] = self._clock()
