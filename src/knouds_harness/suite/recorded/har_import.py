"""Recordings made of captured traffic: a browser's, a proxy's or our own run's."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from knouds_harness.contract.document import Document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.recordings.recording import BASE_URL, Recording, RecordingOrigin
from knouds_harness.exchange.recordings.redaction import RecordingRedactor
from knouds_harness.suite.recorded.captured_traffic import Captured
from knouds_harness.suite.recorded.recording_judgement import judgement_of


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of the exchanges of a file.

    Attributes:
        known: How many exchanges showed nothing new.
        broken: Why others were not recorded: the promise that each breaks.
    """

    recordings: tuple[Recording, ...]
    known: int
    broken: tuple[str, ...]
    without_operation: int


def import_recordings(
    captured: Captured, *, source: Path, kept: Iterable[Recording], document: Document
) -> Imported:
    """Make recordings of what a file holds that is not recorded yet.

    New is an answer with another status, another code or other members than any recording of its operation.
    """
    redactor = RecordingRedactor(base_url=captured.base_url)
    shapes = ShapeJudge(document)
    seen = {_kind_of(each.exchange) for each in kept if each.kind == "answer"}
    names = {(each.operation, each.outcome) for each in kept}
    recordings: list[Recording] = []
    broken: list[str] = []
    known = without_operation = 0
    for exchange in captured.exchanges:
        if exchange.request.operation_id is None or exchange.status is None:
            without_operation += 1
            continue
        if _kind_of(exchange) in seen:
            known += 1
            continue
        outcome = _outcome(exchange, names)
        recording = _recording(redactor.ours(exchange), outcome, source, document)
        judgement = judgement_of(recording, document=document, shapes=shapes)
        if judgement.breaches:
            broken.append(f"{exchange.id}, {recording.name}: it breaks a promise: {judgement.breaches[0]}")
            continue
        seen.add(_kind_of(exchange))
        names.add((recording.operation, outcome))
        recordings.append(replace(recording, facts=judgement.facts))
    return Imported(
        recordings=tuple(recordings), known=known, broken=tuple(broken), without_operation=without_operation
    )


def _kind_of(exchange: Exchange) -> tuple[object, ...]:
    """What tells outcomes without a name apart: operation, status, code, and what the body holds."""
    body = exchange.json_or_none()
    members = frozenset(body) if isinstance(body, dict) else type(body).__name__
    told = exchange.code if (exchange.status or 0) >= 400 else members
    ending = body.get("status") if isinstance(body, dict) and "executionId" in body else None
    return exchange.request.operation_id, exchange.status, told, str(ending)


def _outcome(exchange: Exchange, taken: set[tuple[str, str]]) -> str:
    operation = exchange.request.operation_id or ""
    code = (exchange.code or "").lower().replace("_", "-")
    stem = f"captured-{code}" if code else "captured"
    number, outcome = 1, stem
    while (operation, outcome) in taken:
        number += 1
        outcome = f"{stem}-{number}"
    return outcome


def _recording(exchange: Exchange, outcome: str, source: Path, document: Document) -> Recording:
    return Recording(
        operation=exchange.request.operation_id or "",
        outcome=outcome,
        says="Captured from traffic.",
        exchange=exchange,
        origin=RecordingOrigin(
            target=source.name,
            server=BASE_URL,
            recorded_at=exchange.started_at,
            contract_version=document.version,
            tool_version=version("knouds-harness"),
            seed=0,
        ),
    )
