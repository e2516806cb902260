"""One load run in one process of Locust: its arrivals, and what it tells the process that leads."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from knouds_harness.errors import ExitCode, HarnessError, UsageError
from knouds_harness.load.arrival_user import Arrivals, ArrivalUser
from knouds_harness.load.arrivals import Share
from knouds_harness.load.audit import Audit
from knouds_harness.load.cast import Part, turns
from knouds_harness.load.crew import Crew
from knouds_harness.load.crew_member import CrewMember
from knouds_harness.load.cycles import CycleLog
from knouds_harness.load.health import Health, Watch
from knouds_harness.load.leader import Leader
from knouds_harness.load.mailbox import Mailbox, open_mailbox
from knouds_harness.load.messages import HEALTH
from knouds_harness.load.options import Options
from knouds_harness.load.outcomes import Outcome
from knouds_harness.load.recording import Recording
from knouds_harness.load.response import Response
from knouds_harness.load.samples import Samples
from knouds_harness.load.spending import LoadLimits
from knouds_harness.load.summary import SERVER
from knouds_harness.load.verification import Verification
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target, Workflow

_HISTORY: Final = "knouds_history"
_SAMPLES: Final = "knouds_samples"
_AHEAD_S: Final = 0.5
"""Between the last user's start and the first arrival: for the message to reach every worker."""
_FINISH_WITHIN_S: Final = 10.0
"""For what is in flight at the end, which would not be counted, where there is no ``--stop-timeout``."""
_TIMED: Final = ("runWorkflow", "runModel")


class LoadRun:
    """What the plugin keeps for a run; users find it as ``load_run``.

    Attributes:
        environment: Locust's.
        options: What is asked for.
        target: The profile, if one was named.
        recording: Counts this process's requests.
        arrivals: Of the open model.
        leader: In the local or master process: puts the whole together.
        crew: In the master process: its workers.
        member: In a worker's process: its part.
    """

    def __init__(
        self,
        environment: Environment,
        options: Options,
        target: Target | None,
        *,
        prices: Mapping[str, float],
    ) -> None:
        """Begin nothing yet.

        Args:
            environment: Has its runner.
            options: What is asked for.
            target: The profile, if one was named.
            prices: The most that a run of a workflow costs, by slug, where the server said so.

        Raises:
            HarnessError: The record, or an objective, is not usable.
        """
        self.environment = environment
        self.options = options
        self.target = target
        self.watch = Watch()
        self._prices = prices
        self._has_begun = False
        self._turns: dict[type, Iterator[Persona]] = {}
        self._parts: dict[str, Part] = {}
        environment.stop_timeout = environment.stop_timeout or _FINISH_WITHIN_S
        runner = environment.runner
        self.member = (
            CrewMember(runner, on_share=self._take, on_return=self._give_up)
            if isinstance(runner, WorkerRunner)
            else None
        )
        self.arrivals = (
            Arrivals(
                options.schedule,
                on_taken=self.watch.on_taken,
                is_alone=lambda: self.member is not None and self.member.is_alone,
            )
            if options.schedule
            else None
        )
        self.leader = (
            None
            if self.member
            else Leader(
                environment,
                options,
                target,
                own_health=self.health,
                timer=lambda: self.arrivals.timer if self.arrivals else "",
            )
        )
        self.crew = (
            Crew(runner, self.leader, most_credits=self._most_credits)
            if isinstance(runner, MasterRunner) and self.leader
            else None
        )
        try:
            self.verification = self._open_verification(environment)
            self.mailbox = self._open_mailbox()
        except HarnessError:
            if self.leader:
                self.leader.discard()
            raise
        if self.leader:
            self.leader.verification = self.verification
        self.recording = Recording(
            environment,
            on_second=self.leader.add_second if self.leader else lambda _: None,
            asks_workers=False,  # its crew does
        )
        self.samples: Samples | None = None
        if target:
            self.samples = Samples(target, on_sample=self.leader.evidence.add if self.leader else None)
            self.recording.recorder.on_not_kept = self.samples.add

    @cached_property
    def cycles(self) -> CycleLog:
        """Where asynchronous runs are recorded."""
        return CycleLog(self.recording.recorder)

    @property
    def known_target(self) -> Target:
        """The target.

        Raises:
            UsageError: None was named.
        """
        if self.target is None:
            raise UsageError("name a target: --target sandbox, or another profile in targets/")
        return self.target

    @cached_property
    def limits(self) -> LoadLimits:
        """What this process may still do to the target."""
        return LoadLimits(self.known_target, most_credits=self._most_credits, member=self.member)

    @property
    def _most_credits(self) -> float:
        if self.options.credits is not None:
            return self.options.credits
        return self.target.limits.credits if self.target else 0.0

    def price(self, workflow: Workflow) -> float | None:
        """The most that one run of a workflow costs, from the profile or as the server estimated it."""
        known = workflow.cost_credits
        return self._prices.get(workflow.slug) if known is None else known

    def next_sender(self, user_class: Any) -> tuple[Persona, Part]:  # noqa: ANN401 - imports one way
        """Whose turn it is among a scenario's keys, and what it can run."""
        if user_class not in self._turns:
            self._turns[user_class] = turns(user_class.senders(self.known_target))
        persona = next(self._turns[user_class])
        if self.mailbox:
            persona = self.mailbox.persona_by_user.get(persona.user, persona)
        if persona.name not in self._parts:
            self._parts[persona.name] = Part(self.known_target, persona, price=self.price)
        return persona, self._parts[persona.name]

    def observe(self, operation: str, response: Response, *, sender: Persona | None = None) -> None:
        """An answer came: keep the server's own ``ms`` where it says them, and verify it where asked to.

        Args:
            operation: What statistics call the request.
            response: The answer, within its ``catch_response`` block.
            sender: Whose key it was sent with, if anybody's.
        """
        body = None
        if response.status_code == 200 and operation in _TIMED:
            with suppress(ValueError):
                body = response.json()
            took_ms = body.get("ms") if isinstance(body, dict) else None
            if type(took_ms) is int or type(took_ms) is float:  # a bool is an int to isinstance, and slower
                self.recording.recorder.record(operation, Outcome.KEPT, SERVER, took_ms)
        if self.verification is not None:
            self.verification.look(operation, response, sender, body)

    def listen(self) -> None:
        """Take part in the run from now on."""
        events = self.environment.events
        events.test_start.add_listener(self.on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        if self.member:
            events.report_to_master.add_listener(self._report)
            return
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.quitting.add_listener(self._on_quitting)
        if self.crew:
            events.worker_report.add_listener(self._on_report)

    def health(self) -> Health:
        """How this process does."""
        dispatcher = self.arrivals.dispatcher if self.arrivals else None
        health = (
            self.watch.health(handed=dispatcher.handed, dropped=dispatcher.dropped)
            if dispatcher
            else self.watch.health()
        )
        health.spent_credits = self.limits.budget.spent_credits if self.target else 0.0
        runner = self.environment.runner
        health.in_flight = runner.user_count - dispatcher.idle if runner and dispatcher else 0
        return health

    def stop(self, reason: str, exit_code: ExitCode) -> None:
        """End the whole run early, from whichever process.

        Args:
            reason: For people.
            exit_code: What the command is to end with.
        """
        if self.leader is not None:
            self.leader.stop(reason, exit_code)
        elif self.member is not None:
            self.member.stop(reason, exit_code)

    def _open_mailbox(self) -> Mailbox | None:
        if self.options.finish != "webhook" or self.leader is None:
            return None
        mailbox, reason = None, "a run in several processes has no one place for deliveries"
        if self.crew is None:
            classes: list[Any] = [each for each in self.environment.user_classes if hasattr(each, "senders")]
            mailbox, reason = open_mailbox(
                self.known_target,
                [persona for each in classes for persona in each.senders(self.known_target)],
                {need for each in classes for need in each.needs},
                server=self.verification.server if self.verification else None,
                yes_production=self.options.yes_production,
            )
        if mailbox and self.verification and self.verification.share and self.verification.server is None:
            self.verification.count_deliveries(mailbox.server, mailbox.webhook)
        if mailbox is None:
            self.leader.note(f"Ends were polled for instead of delivered: {reason}.")
        return mailbox

    def _open_verification(self, environment: Environment) -> Verification | None:
        scenarios: list[Any] = [each for each in environment.user_classes if hasattr(each, "senders")]
        is_alone = any(each.crosses_limit for each in scenarios)
        share = 1.0 if is_alone else self.options.verified_share
        if not share and (self.target is None or not scenarios):
            return None
        audit = None
        if share and self.leader is not None:
            senders = [each for user_class in scenarios for each in user_class.senders(self.known_target)]
            audit = Audit(self.known_target, senders, yes_production=self.options.yes_production)
            audit.before()
        return Verification(
            self.options,
            self.known_target,
            share=share,
            is_alone=is_alone,
            process=self._worker_index(),
            audit=audit,
        )

    # What Locust tells

    def on_test_start(self, **_: object) -> None:
        """Users are about to start: give them what they need."""
        ArrivalUser.chance = random.Random(f"{self.options.seed} {self._worker_index()}")
        for user_class in self.environment.user_classes:
            if issubclass(user_class, ArrivalUser):
                user_class.arrivals = self.arrivals
                user_class.load_run = self
        if self.target and not self.member:
            self.limits.pace(Share())
        if self.arrivals is None:
            self._begin_watching(0.0)
            if self.leader:
                self._begin(time.time())

    def _on_spawning_complete(self, **_: object) -> None:
        if self.arrivals is None or self.leader is None or self._has_begun:
            return
        self._has_begun = True
        if self.crew:
            self.crew.assemble()
        start_unix_s = float(math.ceil(time.time() + _AHEAD_S))  # whole, as the seconds of the figures are
        self._begin(start_unix_s)
        if self.crew is None:
            self._take(start_unix_s, Share())

    def _begin(self, start_unix_s: float) -> None:
        assert self.leader is not None  # noqa: S101 - only its process begins a run
        self.leader.begin(start_unix_s)
        if self.crew:
            self.crew.begin(start_unix_s)

    def _on_test_stopping(self, **_: object) -> None:
        if self.leader and self.leader.course:
            self.leader.course.is_ending = True
        if self.arrivals:
            self.arrivals.stop()
        if self.mailbox:
            gevent.spawn_later(self.environment.stop_timeout / 2, self.mailbox.end_waits)
        if self.crew:
            self.crew.end()

    def _on_quitting(self, **_: object) -> None:
        if self.crew:
            self.crew.end()
        self.recording.hand_out(everything=True)
        if self.leader:
            for note in self.mailbox.notes() if self.mailbox else ():
                self.leader.note(note)
            self.leader.conclude()

    # Shares

    def _take(self, start_unix_s: float, share: Share) -> None:
        delay_s = start_unix_s - time.time()
        if self.arrivals:
            if not self.arrivals.portion.shares:
                self._begin_watching(delay_s)
            self.arrivals.begin(time.perf_counter() + delay_s, share)
        if self.target and self.member:
            gevent.spawn_later(max(0.0, share.from_s and share.from_s + delay_s), self.limits.pace, share)
            self.member.ask_ahead()

    def _give_up(self) -> None:
        if self.arrivals:
            self.arrivals.give_up()

    # Health

    def _begin_watching(self, delay_s: float) -> None:
        def begin() -> None:
            dispatcher = self.arrivals.dispatcher if self.arrivals else None
            self.watch.begin(
                handed=dispatcher.handed if dispatcher else 0,
                dropped=dispatcher.dropped if dispatcher else 0,
            )

        begin()
        if self.options.warm_up_s:
            gevent.spawn_later(max(0.0, delay_s + self.options.warm_up_s), begin)

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[HEALTH] = self.health().packed()
        if self.samples:
            data[_SAMPLES] = self.samples.packed()
        if self.verification is not None:
            data[_HISTORY] = self.verification.take().packed()

    def _on_report(self, data: dict[str, Any], **_: object) -> None:
        if self.leader:
            self.leader.evidence.receive(data.get(_SAMPLES, []))
        if self.verification is not None and _HISTORY in data:
            self.verification.receive(data[_HISTORY])

    def _worker_index(self) -> int:
        return int(getattr(self.environment.runner, "worker_index", 0))
