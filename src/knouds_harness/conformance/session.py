"""One conformance run: the target opened, the record started, everything closed again whatever happens."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.matrix import TIERS_WITHOUT_KEYS
from knouds_harness.conformance.needs import mints_webhooks
from knouds_harness.conformance.probe import Probe
from knouds_harness.conformance.receiver import Receiver
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.conformance.side_by_side import Turn
from knouds_harness.conformance.subjects import Subjects
from knouds_harness.contract.document import Document, shipped_document
from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.exchange.client import Client, first_contact
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.locations import recordings_path
from knouds_harness.runs.record import RunHeader, RunWriter
from knouds_harness.target.builtin import open_target
from knouds_harness.target.guards import Guard
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target

_DISTANT_MS: Final = 5.0
"""From connecting to the first answer; where it is less, threads cost more than they save."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asked for.

    Attributes:
        target: The profile's name.
        seed: Of everything random: the sandbox, hypothesis, schemathesis.
        examples: How many inputs a property test generates.
        credits: The most a run may cost; None for the profile's own limit.
        strict: Assumptions that do not hold fail the run.
        faults: Promises that the built-in sandbox is to break.
        variant: How the built-in sandbox answers what no source settles; None for its own way.
        runs_folder: Where the run record goes.
    """

    target: str = "sandbox"
    seed: int = 0
    examples: int = 20
    credits: float | None = None
    strict: bool = False
    yes_production: bool = False
    faults: tuple[str, ...] = ()
    variant: str | None = None
    runs_folder: Path = Path("reports/runs")


@dataclass(kw_only=True)
class ConformanceRun:
    """An opened target with all that tests need; ``probe`` and ``subjects`` begin the run record.

    Attributes:
        is_distant: Answers take so long that independent tests had better wait for them side by side.
    """

    options: Options
    target: Target
    document: Document
    resources: ExitStack
    outcome: str | None = None
    exit_code: ExitCode = ExitCode.KEPT
    note: str = ""
    harness_errors: list[str] = field(default_factory=list)
    is_begun: bool = False
    is_distant: bool = False
    recorder: Recorder = field(init=False)
    turn: Turn = field(default_factory=Turn)

    def begin(self) -> None:
        """Start the record and reach the target.

        Raises:
            TargetUnreachable: There is no usable answer from it.
            RunRecordError: The record cannot be written.
        """
        writer = self.resources.enter_context(
            RunWriter.start(
                self.options.runs_folder, kind="check", target_name=self.target.name, header=self._header()
            )
        )
        self.recorder = Recorder(
            document=self.document,
            writer=writer,
            waivers=self.target.waivers,
            today=datetime.now(UTC).date(),
            strict=self.options.strict,
        )
        self.is_begun = True
        self.is_distant = first_contact(self.client).elapsed_ms > _DISTANT_MS

    @cached_property
    def client(self) -> Client:
        """The guarded client."""
        guard = Guard(self.target, yes_production=self.options.yes_production)
        return self.resources.enter_context(
            Client(
                target=self.target,
                guard=guard,
                on_exchange=self.recorder.writer.add_exchange,
                while_waiting=self.turn.passed_on,
            )
        )

    @cached_property
    def probe(self) -> Probe:
        """Sends and judges."""
        return Probe(client=self.client, document=self.document, recorder=self.recorder, wait=self._wait)

    def _wait(self, seconds: float) -> None:
        with self.turn.passed_on():
            time.sleep(seconds)

    @cached_property
    def subjects(self) -> Subjects:
        """Resources to act on, deleted when the run ends."""
        return Subjects(self.probe)

    @property
    def personas(self) -> list[Persona]:
        """The keys that work, of accounts that may use keys."""
        return [
            persona
            for persona in self.target.personas.values()
            if persona.state == "active" and persona.tier not in TIERS_WITHOUT_KEYS
        ]

    @property
    def values_by_fixture(self) -> dict[str, object]:
        """What independent tests are called with, besides their parameters."""
        return {
            "run": self,
            "probe": self.probe,
            "subjects": self.subjects,
            "target": self.target,
            "personas": self.personas,
            "document": self.document,
        }

    @cached_property
    def receiver(self) -> Receiver:
        """Takes deliveries until the run ends: where the profile's webhook leads, or at a free port.

        Raises:
            UsageError: Nothing can listen there.
        """
        listen = self.target.webhook.listen if self.target.webhook else None
        if listen is None or mints_webhooks(self.target):
            return self.resources.enter_context(Receiver())
        return self.resources.enter_context(Receiver(*listen))

    def stop(self, outcome: str, error: HarnessError) -> None:
        """Remember why the run ends early."""
        self.outcome, self.exit_code, self.note = outcome, error.exit_code, str(error)

    def conclude(self, *, was_interrupted: bool) -> ExitCode:
        """Delete what was made on the target and finish the record.

        Returns:
            What the command exits with.
        """
        # The outcome stands, whether or not the target still answers, or that operation of it does.
        with suppress(HarnessError, pytest.skip.Exception):
            self.subjects.clean_up()
        self.recorder.record_drift()
        if self.outcome is None:
            self._decide(was_interrupted=was_interrupted)
        self.recorder.writer.finish(self.outcome or "", int(self.exit_code), note=self.note)
        return self.exit_code

    def _decide(self, *, was_interrupted: bool) -> None:
        if was_interrupted:
            self.outcome, self.exit_code = "interrupted", ExitCode.INTERRUPTED
        elif self.recorder.is_broken:
            self.outcome, self.exit_code = "broken", ExitCode.BREACH
            self.note = "\n".join(
                f"waiver expired on {waiver.expires}: {waiver}. Mend what it waives, or renew it."
                for waiver in self.recorder.expired_waivers
            )
        elif self.harness_errors:
            self.outcome, self.exit_code = "failed", ExitCode.BREACH
            self.note = f"{len(self.harness_errors)} tests ended in an error of the harness itself"
        else:
            self.outcome, self.exit_code = "kept", ExitCode.KEPT

    def _header(self) -> RunHeader:
        return RunHeader(
            tool_version=version("knouds-harness"),
            python_version=platform.python_version(),
            command=tuple(sys.argv),
            seed=self.options.seed,
            target=self.target,
            document=self.document,
            checks=all_checks(),
            strict=self.options.strict,
            recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
        )


@contextmanager
def open_run(options: Options) -> Iterator[ConformanceRun]:
    """Open the target and read the document; the sandbox is started, seeded and stopped here.

    Raises:
        HarnessError: The target, its profile or the document is not usable.
    """
    document = shipped_document()
    with ExitStack() as resources:
        target = resources.enter_context(
            open_target(options.target, seed=options.seed, faults=options.faults, variant=options.variant)
        )
        if options.credits is not None:
            target = replace(target, limits=replace(target.limits, credits=options.credits))
        yield ConformanceRun(options=options, target=target, document=document, resources=resources)
