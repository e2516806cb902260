"""Judge captured traffic, without sending anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import FINAL
from knouds_harness.errors import ExitCode, RunRecordError
from knouds_harness.exchange.evidence import Exchange, body_of, status_in, statuses_in
from knouds_harness.exchange.recording import TEST_SECRET, Recording
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.claim import Check, Claim, explain
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import finding_of, judge
from knouds_harness.judging.rule.resources import KnownResources
from knouds_harness.locations import recordings_path
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import RunPersona, run_setup
from knouds_harness.runs.writer import EXCHANGES_FILE, RunWriter
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Waiver


def verify(path: Path, *, base_url: str | None, strict: bool, runs_folder: Path) -> tuple[ExitCode, Path]:
    """Judge each of the API's exchanges in a HAR file; returns the exit code and the run folder."""
    document = shipped_document()
    captured = read_captured(path, base_url=base_url)
    target = Target(name=urlsplit(captured.base_url).hostname or "traffic", base_url=captured.base_url)
    setup = run_setup(
        target,
        command=[captured.redactor.text(argument) for argument in sys.argv],
        seed=0,
        checks=[each.recorded for each in all_checks().values()],
    )
    recordings = RecordingFolder.open(recordings_path()).names_by_fact()
    setup = replace(setup, strict=strict, recordings=recordings)
    keys: Mapping[str, RunPersona] = {}
    if path.name == EXCHANGES_FILE:
        with suppress(RunRecordError):  # no run record is beside it
            keys = read_run(path.parent).setup.target.personas
    resources = KnownResources(user_of=lambda persona: keys[persona].user if persona in keys else None)
    exchanges = [each for each in captured.exchanges if not each.is_control]
    for exchange in exchanges:  # all at first: what was changed while a request was under way is open
        resources.note(exchange)
    # A control plane may have moved the clock of the windows.
    known = {"advanced_s": 0.0} if len(exchanges) == len(captured.exchanges) else {}
    context = Context(keys=keys, resources=resources, known=known)
    with RunWriter(runs_folder, kind="verify", target=target, setup=setup) as writer:
        recorder = FindingRecorder(
            document=document, writer=writer, waivers=(), today=datetime.now(UTC).date(), strict=strict
        )
        for exchange in exchanges:
            writer.add_exchange(exchange)
            if not exchange.is_lost:  # the connection failed, so there is nothing to judge
                recorder.judge(exchange, replace(context, is_ours=exchange.id in captured.ours))
        for delivery in captured.deliveries:
            writer.add_exchange(delivery)
            recorder.judge(delivery, context)
        recorder.record_drift()
        outcome, code = (
            (RunOutcome.BROKEN, ExitCode.BREACH) if recorder.is_broken else (RunOutcome.KEPT, ExitCode.KEPT)
        )
        writer.finish(outcome, code, note=captured.left_out)
    return code, writer.folder


@dataclass(frozen=True, kw_only=True)
class RecordingJudgement:
    """What a recording shows.

    Attributes:
        facts: The facts that it shows to hold, and nowhere to be broken, in the document's order.
        breaches: The claims that would fail a run, each in one line.
    """

    facts: tuple[str, ...]
    breaches: tuple[str, ...]


def judgement_of(
    recording: Recording, *, story: Iterable[Recording] = (), waivers: Sequence[Waiver] = ()
) -> RecordingJudgement:
    """Judge a recording by all checks; ``waivers`` of its target may accept what it breaks.

    The other arguments are those of ``claims_about``.
    """
    kept: set[str] = set()
    broken: set[str] = set()
    breaches: list[str] = []
    for check, claim in claims_about(recording, story):
        (kept if claim.holds else broken).add(claim.fact)
        if not claim.holds:
            found = finding_of(check, recording.exchange, claim, waivers=waivers)
            breaches += [explain(check, claim)] if found.fails(strict=False) else []
    facts = tuple(fact for fact in shipped_document().facts if fact in kept - broken)
    return RecordingJudgement(facts=facts, breaches=tuple(breaches))


def claims_about(recording: Recording, story: Iterable[Recording] = ()) -> Iterator[tuple[Check[...], Claim]]:
    """Yield the claims about a recording, of the checks that apply and of those that it names.

    ``story`` are the recordings of its story, with or without itself. To judge another response to the same
    request, replace the recording's exchange.
    """
    context = Context(applying=frozenset(recording.checks), known=_known(recording, story))
    yield from judge(recording.exchange, context)


def _known(recording: Recording, story: Iterable[Recording]) -> dict[str, object]:
    others = [each for each in story if each.key != recording.key]
    before = _before(recording, others)
    known: dict[str, object] = {
        "held": recording.held,
        "tier": recording.tier,
        **({} if recording.held is None else {"state": _state_of_key(recording)}),
        "earlier": before,
        "earlier_runs": None if before is None else (before,),
        **_of_execution(recording, others),
    }
    if recording.kind == "delivery":
        known |= {"raw": recording.exchange.request.body or b"", "secret": TEST_SECRET}
    return known


def _state_of_key(recording: Recording) -> str:
    refusing = {f"authentication.{each}" for each in ("revoked-key", "legacy-key", "unapproved-account")}
    named = (
        each.removeprefix("authentication.").partition("-")[0]
        for each in recording.checks
        if each in refusing
    )
    return next(named, "active")


def _before(recording: Recording, others: Sequence[Recording]) -> Exchange | None:
    """Return the story's last exchange of the same operation before this one."""
    earlier = [
        each.exchange
        for each in others
        if each.operation == recording.operation and each.exchange.started_at < recording.exchange.started_at
    ]
    return max(earlier, key=lambda exchange: exchange.started_at, default=None)


def _of_execution(recording: Recording, others: Sequence[Recording]) -> dict[str, Any]:
    execution = _execution_of(recording)
    if execution is None:
        return {}
    about = sorted(
        (each for each in others if each.kind == "answer" and _execution_of(each) == execution),
        key=lambda each: each.exchange.started_at,
    )
    started_at = recording.exchange.started_at
    polls = [each.exchange for each in about if each.operation == "getExecution"]
    before = [poll for poll in polls if poll.started_at < started_at]
    ended = next((poll for poll in polls if status_in(poll) in FINAL), None)
    return {
        "submitted": next((each.exchange for each in about if each.operation.startswith("run")), None),
        "poll": ended,
        "ending": status_in(ended) if ended else None,
        "statuses": statuses_in([*before, recording.exchange]),
        "after": statuses_in([poll for poll in polls if poll.started_at > started_at]),
    }


def _execution_of(recording: Recording) -> str | None:
    request = recording.exchange.request
    if recording.kind == "delivery":
        named = request.members.get("executionId")
    else:
        named = request.path_values.get("id") or body_of(recording.exchange).get("executionId")
    return named if isinstance(named, str) else None
