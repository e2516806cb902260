"""Judging traffic that somebody recorded, without sending anything."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from knouds_harness.conformance.captured import read_captured
from knouds_harness.conformance.checks import all_checks
from knouds_harness.conformance.common_checks import judge_by_common_checks
from knouds_harness.conformance.recorder import Recorder
from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.shapes import ShapeJudge
from knouds_harness.errors import ExitCode
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.locations import recordings_path
from knouds_harness.runs.header import RunHeader
from knouds_harness.runs.verdicts import Outcome
from knouds_harness.runs.writer import RunWriter
from knouds_harness.target.profile import Target


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What became of a file.

    Attributes:
        exit_code: For the command.
        folder: The run record.
    """

    exit_code: ExitCode
    folder: Path


def verify(path: Path, *, base_url: str | None, strict: bool, runs_folder: Path) -> Verification:
    """Judge every exchange of a HAR file that is the API's, and write a run record of it.

    Args:
        path: Of the file.
        base_url: Where the API is, if its requests do not tell.
        strict: Assumptions that do not hold fail the run.
        runs_folder: Where the record goes.

    Raises:
        UsageError: The file is no HAR, or holds nothing that can be judged.
        RunRecordError: The record cannot be written.
    """
    document = shipped_document()
    captured = read_captured(path, document, base_url=base_url)
    header = RunHeader(
        tool_version=version("knouds-harness"),
        python_version=platform.python_version(),
        command=tuple(captured.redactor.text(argument) for argument in sys.argv),
        seed=0,
        target=Target(name=urlsplit(captured.base_url).hostname or "traffic", base_url=captured.base_url),
        document=document,
        checks=all_checks(),
        strict=strict,
        recordings=RecordingFolder.open(recordings_path()).names_by_fact(),
    )
    shapes = ShapeJudge(document)
    with RunWriter.start(runs_folder, kind="verify", target_name=header.target.name, header=header) as writer:
        recorder = Recorder(
            document=document, writer=writer, waivers=(), today=datetime.now(UTC).date(), strict=strict
        )
        for exchange in captured.exchanges:
            writer.add_exchange(exchange)
            judge_by_common_checks(exchange, recorder=recorder, document=document, shapes=shapes)
        recorder.record_drift()
        outcome, code = (
            (Outcome.BROKEN, ExitCode.BREACH) if recorder.is_broken else (Outcome.KEPT, ExitCode.KEPT)
        )
        writer.finish(outcome, code, note=captured.left_out)
    return Verification(exit_code=code, folder=writer.folder)
