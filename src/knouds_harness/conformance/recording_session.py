"""Recording: following recipes on a target, and making recordings of what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knouds_harness.conformance.claims import answer, explain
from knouds_harness.conformance.deliveries import Received
from knouds_harness.conformance.needs import may, mints_webhooks
from knouds_harness.conformance.probe import UNTESTED
from knouds_harness.conformance.recipes import Recipe
from knouds_harness.conformance.recording_judgement import claims_about
from knouds_harness.conformance.session import ConformanceRun, Options, open_run
from knouds_harness.conformance.stage import Stage
from knouds_harness.contract.operations import Action
from knouds_harness.contract.sources import Source
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.recording_redaction import RecordingRedactor
from knouds_harness.exchange.recordings import BUILT_IN, Origin, Recording
from knouds_harness.target.builtin import SANDBOX


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What came of one recipe.

    Attributes:
        recipe: Which.
        recording: Of the answer, whatever it was; None where none came.
        problem: Why it is no recording of the outcome that was meant; empty where it is one.
        is_untested: Whether the problem is the profile's, or the target's state, and no wrong answer.
    """

    recipe: Recipe
    recording: Recording | None = None
    problem: str = ""
    is_untested: bool = False


@contextmanager
def open_session(options: Options) -> Iterator[RecordingSession]:
    """Open a target for recording; what was made on it is deleted in the end.

    Args:
        options: Of a check; the run record that they ask for is not kept.

    Raises:
        HarnessError: The target, its profile or the document is not usable.
    """
    with (
        TemporaryDirectory(prefix="knouds-harness-") as folder,
        open_run(replace(options, runs_folder=Path(folder))) as run,
    ):
        run.begin()
        try:
            yield RecordingSession(run=run)
        finally:
            run.conclude(was_interrupted=False)


@dataclass(kw_only=True)
class RecordingSession:
    """An opened target, and what makes recordings of its answers."""

    run: ConformanceRun

    def __post_init__(self) -> None:
        """Send nothing yet."""
        target = self.run.target
        self.stage = Stage(self.run)
        self.redactor = RecordingRedactor(base_url=target.base_url, personas=target.personas)
        self._has_met_everybody = False

    def follow(self, recipe: Recipe) -> Followed:
        """Provoke one outcome; what checks make of it is for ``judged`` to say, once its story is whole.

        Raises:
            GuardStop: The profile's limits forbid it.
            TargetUnreachable: The target has gone away.
        """
        self._meet_everybody()
        try:
            came = recipe.provoke(self.stage)
        except pytest.skip.Exception as reason:
            problem = str(reason).removeprefix(UNTESTED)
            return Followed(recipe=recipe, problem=f"it would take {problem}", is_untested=True)
        exchange = came.exchange if isinstance(came, Received) else came
        if exchange.status is None:
            return Followed(recipe=recipe, problem=f"no answer: {exchange.failure}")
        return Followed(
            recipe=recipe, recording=self._recording(recipe, came), problem=self._misses(recipe, exchange)
        )

    def judged(self, followed: Iterable[Followed]) -> list[Followed]:
        """Have checks judge what was recorded: the facts that it shows, or the promise that it breaks."""
        followed = list(followed)
        recordings = [each.recording for each in followed if each.recording]
        return [
            self._judged(each, each.recording, recordings) if each.recording else each for each in followed
        ]

    def _judged(self, followed: Followed, recording: Recording, others: list[Recording]) -> Followed:
        document, recorder = self.run.document, self.run.recorder
        kept: set[str] = set()
        broken: set[str] = set()
        problems: list[str] = []
        story = [each for each in others if recording.story and each.story == recording.story]
        for check, claims in claims_about(
            recording, document=document, shapes=self.stage.probe.shapes, story=story
        ):
            kept |= {claim.fact for claim in claims if claim.holds}
            broken |= {claim.fact for claim in claims if not claim.holds}
            if recorder.record(check, recording.exchange, claims):
                problems += [explain(check, claim) for claim in claims if not claim.holds]
        shown = [fact for fact in document.facts if fact in kept - broken]
        return replace(
            followed,
            recording=replace(recording, facts=tuple(shown)),
            problem=followed.problem or (f"it breaks a promise: {problems[0]}" if problems else ""),
        )

    def _misses(self, recipe: Recipe, exchange: Exchange) -> str:
        expected = " or ".join(map(str, recipe.statuses))
        if exchange.status not in recipe.statuses:
            return f"answered {answer(exchange)}, and {expected} was to be provoked"
        code = recipe.code and self.run.document.error_codes.get(recipe.code)
        if code and code.source is not Source.ASSUMED and exchange.code != code.code:
            return f"answered {answer(exchange)}, and {expected} {code.code} was to be provoked"
        return ""

    def _recording(self, recipe: Recipe, came: Exchange | Received) -> Recording:
        if isinstance(came, Received):
            exchange = self.redactor.delivery(came.exchange, raw=came.raw, secret=came.secret)
        else:
            exchange = self.redactor.ours(came)
        name = came.request.persona if isinstance(came, Exchange) else None
        persona = self.stage.probe.client.persona(name) if name else None
        return Recording(
            operation=recipe.operation,
            outcome=recipe.outcome,
            says=recipe.says,
            exchange=exchange,
            kind="delivery" if isinstance(came, Received) else "answer",
            story=recipe.story,
            checks=tuple(check.id for check in recipe.checks),
            held=tuple(sorted(persona.capabilities)) if persona else None,
            tier=persona.tier if persona else None,
            origin=self._origin(exchange),
        )

    def _origin(self, exchange: Exchange) -> Origin:
        target = self.run.target
        return Origin(
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
            with suppress(pytest.skip.Exception):
                self.redactor.introduce(self.stage.probe.send("getWhoami", persona), user)
