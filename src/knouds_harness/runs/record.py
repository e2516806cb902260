"""Reads a run record back: reports are made from nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from knouds_harness.errors import RunRecordError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.har import read_har
from knouds_harness.files import file_content, replace_file
from knouds_harness.runs.findings import CUT_SHORT, Finding, RunOutcome
from knouds_harness.runs.load_record import read_results, read_seconds
from knouds_harness.runs.load_results import LOAD_FILE, LOAD_KIND, LoadResults
from knouds_harness.runs.operation_load import SecondRow
from knouds_harness.runs.run_file import (
    FORMAT,
    FORMAT_VERSION,
    RunFile,
    UsageShown,
    finding_format,
    run_file_format,
)
from knouds_harness.runs.writer import EXCHANGES_FILE, FINDINGS_FILE, RESERVE_FILE, RUN_FILE


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunFile):
    """One run, read from its folder: the contents of ``run.json`` and of the files beside it.

    Attributes:
        outcome: How the run ended; if it did not say so, it was interrupted.
        load: What a load run measured, which ``seconds`` have over time; None for a run of another kind.
    """

    folder: Path
    findings: tuple[Finding, ...]
    gaps: tuple[str, ...]
    load: LoadResults | None = None
    seconds: tuple[SecondRow, ...] = ()

    def fails(self, finding: Finding) -> bool:
        return finding.fails(strict=self.setup.strict)

    @property
    def is_cut_short(self) -> bool:
        return any(line.startswith(CUT_SHORT) for line in self.note.splitlines())

    @property
    def duration_s(self) -> float:
        return (self.written_at - self.started_at).total_seconds()

    @property
    def missing_exchanges(self) -> int:
        return max(0, self.counts.exchanges - len(self.exchange_by_id))

    @cached_property
    def exchange_by_id(self) -> Mapping[str, Exchange]:
        """The evidence, read on first use; empty if the file is missing or another tool's."""
        try:
            return {exchange.id: exchange for exchange in read_har(self.folder / EXCHANGES_FILE)}
        except (OSError, KeyError, TypeError, ValueError):
            return {}


def read_run(folder: Path) -> RunRecord:
    """Read a run folder.

    What is missing or cut short in the other files is left out, and named in ``gaps`` of the record.

    Raises:
        RunRecordError: It is not a run folder, or its ``run.json`` is broken or of another version.
    """
    stored = _read_run_file(folder)
    gaps: list[str] = []
    findings = _read_findings(folder / FINDINGS_FILE, gaps)
    lost = sum(stored.counts.findings.values()) - len(findings)
    if lost > 0 and not gaps:
        gaps.append(f"{FINDINGS_FILE} lacks {lost:,} findings that {RUN_FILE} counts.")
    if not (folder / EXCHANGES_FILE).is_file():
        gaps.append(f"{EXCHANGES_FILE} is missing: no requests and responses are shown.")
    load = read_results(folder, gaps)
    seconds = read_seconds(folder, gaps) if load else ()
    if stored.kind == LOAD_KIND and not (folder / LOAD_FILE).exists():
        gaps.append(f"{LOAD_FILE} is missing: no figures are shown.")
    known = vars(stored)
    if stored.outcome is RunOutcome.RUNNING:
        note = stored.note or "The run did not say how it ended: it was killed, or still runs."
        if any(folder.glob("created*.jsonl")):
            note += f"\nIf it was killed, knouds-harness cleanup {folder} deletes what it created."
        known = known | {"outcome": RunOutcome.INTERRUPTED, "note": note}
    return RunRecord(
        **known, folder=folder, findings=tuple(findings), gaps=tuple(gaps), load=load, seconds=seconds
    )


def rewrite_outcome(folder: Path, outcome: RunOutcome, exit_code: int, *, note: str) -> None:
    """Change how the record of a run says that it ended; the run may have been killed."""
    stored = _read_run_file(folder)
    changed = replace(stored, outcome=outcome, exit_code=int(exit_code), note=note)
    write_stored(folder / RUN_FILE, run_file_format().dump_json(changed))
    (folder / RESERVE_FILE).unlink(missing_ok=True)


def rewrite_usage(folder: Path, usage: UsageShown) -> float:
    """Change what the record of an ended run says that it cost; return its limit of credits."""
    stored = _read_run_file(folder)
    cost_credits = max(stored.counts.cost_credits, usage.credits or 0.0)
    counts = replace(stored.counts, cost_credits=cost_credits, usage=usage)
    write_stored(folder / RUN_FILE, run_file_format().dump_json(replace(stored, counts=counts)))
    return stored.setup.target.limits.credits


def write_stored(path: Path, content: bytes) -> None:
    """Replace a file, in a folder that is made if it is missing.

    Raises:
        RunRecordError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path.parent, path.name, content)
    except OSError as error:
        raise RunRecordError(
            f"{path}: cannot be written: {error.strerror}\n  Make room there, or choose another folder."
        ) from error


_NO_RUN = "Give a folder under reports/runs."
_DAMAGED = "Take it from a copy of the run, or run again."


def _read_run_file(folder: Path) -> RunFile:
    path = folder / RUN_FILE
    if not folder.is_dir():
        raise RunRecordError(f"{folder}: no such run folder\n  {_NO_RUN}")
    if not path.exists():
        raise RunRecordError(f"{folder}: holds no {RUN_FILE}, so it is not a run folder\n  {_NO_RUN}")
    return read_stored(path, run_file_format(), FORMAT, if_other=_NO_RUN, if_damaged=_DAMAGED)


T = TypeVar("T")


def read_stored(
    path: Path, adapter: TypeAdapter[T], named_format: str, *, if_other: str, if_damaged: str
) -> T:
    """Read a JSON file of this tool, of one format and version; the last two say what to do.

    Raises:
        RunRecordError: It is damaged, another tool's, or of another version.
    """
    try:
        content = file_content(path)
        stored: Any = json.loads(content)
    except OSError as error:
        raise RunRecordError(f"{path}: cannot be read: {error.strerror}\n  {if_damaged}") from error
    except (ValueError, RecursionError):
        raise RunRecordError(f"{path}: is cut short or is not JSON\n  {if_damaged}") from None
    if not isinstance(stored, dict) or stored.get("format") != named_format:
        raise RunRecordError(f"{path}: was not written by knouds-harness\n  {if_other}")
    if (version := stored.get("format_version")) != FORMAT_VERSION:
        setup = stored.get("setup", stored)
        writer = setup.get("tool_version") if isinstance(setup, dict) else None
        named = f": {writer:.20}" if isinstance(writer, str) else ""
        raise RunRecordError(
            f"{path}: has format {version!s:.20}, and this version reads format {FORMAT_VERSION}\n"
            f"  Read it with the version that wrote it{named}."
        )
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunRecordError(f"{path}: {where}: {first['msg'].lower()}\n  {if_damaged}") from None


def _read_findings(path: Path, gaps: list[str]) -> list[Finding]:
    findings = []
    try:
        lines = file_content(path).splitlines()
    except OSError as error:
        gaps.append(f"{FINDINGS_FILE} cannot be read ({error.strerror}): no findings are shown.")
        return []
    for number, line in enumerate(lines, start=1):
        try:
            findings.append(finding_format().validate_json(line))
        except ValidationError:
            gaps.append(f"{FINDINGS_FILE}, line {number} is cut short or damaged, and is left out.")
    return findings
