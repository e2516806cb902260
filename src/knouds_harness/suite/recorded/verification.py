"""Judging captured traffic, without sending anything."""

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.recordings.folder import RecordingFolder
from knouds_harness.judging.checks import all_checks
from knouds_harness.judging.context import Context
from knouds_harness.judging.known_keys import KnownKeys
from knouds_harness.locations import recordings_path
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.verdicts import RunOutcome
from knouds_harness.runs.writer import RunWriter
from knouds_harness.suite.recorded.captured_traffic import read_captured
from knouds_harness.suite.recorder import FindingRecorder
from knouds_harness.targets.profile import Target


@dataclass(frozen=True, kw_only=True)
class TrafficVerification:
    """What the command exits with, and the run record."""

    exit_code: ExitCode
    folder: Path


def verify(path: Path, *, base_url: str | None, strict: bool, runs_folder: Path) -> TrafficVerification:
    """Judge every exchange of a HAR file that is the API's, one by one, and write a run record of it.

    Raises:
        UsageError: The file is not a HAR file, or holds nothing that can be judged.
        RunRecordError: The record cannot be written.
    """
    document = shipped_document()
    captured = read_captured(path, document, base_url=base_url, takes_deliveries=True)
    header = RunHeader(
        command=tuple(captured.redactor.text(argument) for argument in sys.argv),
        seed=0,
        target=Target(name=urlsplit(captured.base_url).hostname or "traffic", base_url=captured.base_url),
        document=document,
        checks=all_checks(),
        strict=strict,
        recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
    )
    keys = KnownKeys.beside(path)
    context = Context(document=document, shapes=ShapeJudge(document), keys=keys.by_name)
    with RunWriter.start(runs_folder, kind="verify", target_name=header.target.name, header=header) as writer:
        recorder = FindingRecorder(
            document=document, writer=writer, waivers=(), today=datetime.now(UTC).date(), strict=strict
        )
        for exchange in captured.exchanges:
            if exchange.is_control:
                keys.note_control(exchange)
                continue
            writer.add_exchange(exchange)
            if not exchange.is_lost:  # an accident of the connection
                is_ours, known = exchange.id in captured.ours, {"advanced_s": keys.advanced_s}
                recorder.judge(exchange, replace(context, is_ours=is_ours, known=known))
        for delivery in captured.deliveries:
            writer.add_exchange(delivery)
            recorder.judge(delivery, replace(context, is_delivery=True))
        recorder.record_drift()
        outcome, code = (
            (RunOutcome.BROKEN, ExitCode.BREACH) if recorder.is_broken else (RunOutcome.KEPT, ExitCode.KEPT)
        )
        writer.finish(outcome, code, note=captured.left_out)
    return TrafficVerification(exit_code=code, folder=writer.folder)
