"""Recording: provoking outcomes on a target, and making recordings of what is answered."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from knouds_harness.contract.operations import Action
from knouds_harness.contract.sources import Source
from knouds_harness.errors import RunRecordError
from knouds_harness.exchange.created_workflows import LEDGER_FILE, CreatedWorkflows
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.recordings.recording import BUILT_IN, Recording, RecordingOrigin
from knouds_harness.exchange.recordings.redaction import RecordingRedactor
from knouds_harness.judging.claim import answer
from knouds_harness.printable import printable
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.outcomes.outcome import ProvokedOutcome
from knouds_harness.suite.outcomes.resources import OutcomeResources
from knouds_harness.suite.recorded.recording_judgement import judgement_of
from knouds_harness.suite.session import ConformanceRun, open_run
from knouds_harness.suite.support.webhook_executions import Received
from knouds_harness.suite.tester import disputed_slug
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.builtin import SANDBOX
from knouds_harness.targets.needs.need import may
from knouds_harness.targets.needs.webhooks import mints_webhooks


@dataclass(frozen=True, kw_only=True)
class ProvokedAnswer:
    """The answer to one outcome that was to be provoked.

    Attributes:
        outcome: Which.
        recording: Of the answer, whatever it was; None where none came.
        problem: Why it is no recording of the outcome that was meant; empty where it is one.
        is_untested: Whether the problem is the profile's, or the target's state, and no wrong answer.
    """

    outcome: ProvokedOutcome
    recording: Recording | None = None
    problem: str = ""
    is_untested: bool = False


@contextmanager
def open_session(options: RunOptions) -> Iterator[RecordingSession]:
    """Open a target for recording; what was made on it is deleted in the end.

    Args:
        options: Of a check; the run record that they ask for is not kept.

    Raises:
        HarnessError: The target, its profile or the document is not usable.
    """
    with (
        _folder_until_clean(options.runs_folder) as folder,
        open_run(replace(options, runs_folder=folder)) as run,
    ):
        run.begin()
        was_interrupted = False
        try:
            yield RecordingSession(run=run)
        except KeyboardInterrupt:
            was_interrupted = True
            raise
        finally:
            run.conclude(was_interrupted=was_interrupted)
            sys.stderr.writelines(f"{printable(line)}\n" for line in run.left)


@contextmanager
def _folder_until_clean(runs_folder: Path) -> Iterator[Path]:
    """A hidden folder beside runs, which stays while something of what is created is left on the target."""
    made = [each for each in (runs_folder, *runs_folder.parents) if not each.exists()]
    try:
        runs_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=".record-", dir=runs_folder))
    except OSError as error:
        raise RunRecordError(f"{runs_folder}: no folder can be made there: {error.strerror}") from error
    try:
        yield folder
    finally:
        ledgers = list(folder.glob(f"*/{LEDGER_FILE}"))
        if all(CreatedWorkflows.read(each).is_done for each in ledgers):
            rmtree(folder, ignore_errors=True)
            for each in made:
                with suppress(OSError):  # others may have put something there
                    each.rmdir()


@dataclass(kw_only=True)
class RecordingSession:
    """An opened target, and what makes recordings of its answers."""

    run: ConformanceRun

    def __post_init__(self) -> None:
        target = self.run.target
        self.resources = OutcomeResources(self.run)
        self.redactor = RecordingRedactor(base_url=target.base_url, personas=target.personas)
        self._has_met_everybody = False

    def provoke(self, outcome: ProvokedOutcome) -> ProvokedAnswer:
        """Provoke one outcome; what checks make of it is for ``judged`` to say, once its story is whole.

        Raises:
            GuardStop: The profile's limits forbid it.
            TargetUnreachable: The target has gone away.
        """
        self._meet_everybody()
        try:
            came = outcome.provoke(self.resources)
        except Untested as reason:
            return ProvokedAnswer(outcome=outcome, problem=f"it would take {reason}", is_untested=True)
        exchange = came.exchange if isinstance(came, Received) else came
        if exchange.status is None:
            return ProvokedAnswer(outcome=outcome, problem=f"no answer: {exchange.failure}")
        return ProvokedAnswer(
            outcome=outcome, recording=self._recording(outcome, came), problem=self._misses(outcome, exchange)
        )

    def judged(self, provoked: Iterable[ProvokedAnswer]) -> list[ProvokedAnswer]:
        """Have checks judge what was recorded: the facts that it shows, or the promise that it breaks."""
        provoked = list(provoked)
        recordings = [each.recording for each in provoked if each.recording]
        return [
            self._judged(each, each.recording, recordings) if each.recording else each for each in provoked
        ]

    def _judged(
        self, provoked: ProvokedAnswer, recording: Recording, others: list[Recording]
    ) -> ProvokedAnswer:
        judgement = judgement_of(
            recording,
            document=self.run.document,
            shapes=self.resources.tester.shapes,
            story=[each for each in others if recording.story and each.story == recording.story],
            waivers=self.run.target.waivers,
        )
        broken = f"it breaks a promise: {judgement.breaches[0]}" if judgement.breaches else ""
        return replace(
            provoked,
            recording=replace(recording, facts=judgement.facts),
            problem=provoked.problem or broken,
        )

    def _misses(self, outcome: ProvokedOutcome, exchange: Exchange) -> str:
        if slug := disputed_slug(exchange, self.resources.tester.client.created):
            return (
                f'it breaks a promise: create answered "{slug}", which does not show the name that was sent'
            )
        expected = " or ".join(map(str, outcome.statuses))
        if exchange.status not in outcome.statuses:
            return f"answered {answer(exchange)}, and {expected} was to be provoked"
        code = outcome.code and self.run.document.error_codes.get(outcome.code)
        if code and code.source is not Source.ASSUMED and exchange.code != code.code:
            return f"answered {answer(exchange)}, and {expected} {code.code} was to be provoked"
        return ""

    def _recording(self, outcome: ProvokedOutcome, came: Exchange | Received) -> Recording:
        if isinstance(came, Received):
            exchange = self.redactor.delivery(came.exchange, raw=came.raw, secret=came.secret)
        else:
            exchange = self.redactor.ours(came)
        name = came.request.persona if isinstance(came, Exchange) else None
        persona = self.resources.tester.client.persona(name) if name else None
        return Recording(
            operation=outcome.operation,
            outcome=outcome.outcome,
            says=outcome.says,
            exchange=exchange,
            kind="delivery" if isinstance(came, Received) else "answer",
            story=outcome.story,
            checks=tuple(check.id for check in outcome.checks),
            held=tuple(sorted(persona.capabilities)) if persona else None,
            tier=persona.tier if persona else None,
            origin=self._origin(exchange),
        )

    def _origin(self, exchange: Exchange) -> RecordingOrigin:
        target = self.run.target
        return RecordingOrigin(
            target=target.name,
            server=BUILT_IN if target.name == SANDBOX else target.base_url,
            recorded_at=exchange.started_at,
            contract_version=self.run.document.version,
            tool_version=version("knouds-harness"),
            seed=self.run.options.seed,
        )

    def _meet_everybody(self) -> None:
        """Learn the ids and addresses of the profile's users, so that they show by name."""
        if self._has_met_everybody or may(Action.READ).find(self.run.target) is None:
            return
        self._has_met_everybody = True
        target = self.run.target
        if target.webhook:
            self.redactor.hide_receiver(target.webhook.url)
        if mints_webhooks(target):
            self.redactor.hide_receiver(self.run.receiver.url("/"))
        key_by_user = {each.user: each for each in target.personas.values() if each.state == "active"}
        for user, persona in key_by_user.items():
            with suppress(Untested):
                self.redactor.introduce(self.resources.tester.send("getWhoami", persona), user)
