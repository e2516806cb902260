"""Writes a run record during the run, so that nothing is lost however the run ends.

A file that is replaced is replaced whole, and some room is reserved to record that the disk is full.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from knouds_harness.errors import ExitCode, RunRecordError
from knouds_harness.exchange.creation_record import LEDGER_FILE
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.har import HarWriter
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.files import append_to_file, replace_file
from knouds_harness.interrupts import uninterrupted
from knouds_harness.runs.counts import RunCounts
from knouds_harness.runs.findings import Finding, RunOutcome, script_file
from knouds_harness.runs.run_file import RunFile, RunSetup, finding_format, run_file_format
from knouds_harness.targets.profile import Target

RUN_FILE = "run.json"
FINDINGS_FILE = "findings.jsonl"
EXCHANGES_FILE = "exchanges.har"
_CHECKPOINT_EVERY_S = 1.0


class RunWriter(RunCounts):
    """Writes one run folder; use it as a context manager.

    Each exchange and each new finding is in its file when the call returns. Counts are written at most once a
    second and at the end, so a process that is killed loses at most the counts of its last second.
    """

    def __init__(
        self,
        root: Path,
        *,
        kind: str,
        target: Target,
        setup: RunSetup,
        about: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the folder ``<UTC time>-<kind>-<target>-<about>`` and begin the record in it."""
        super().__init__()
        self._started_at, self._started_s = now(), clock()
        name = f"{target.name}-{about}" if about else target.name
        self.folder = make_run_folder(root, kind=kind, target_name=name, at=self._started_at)
        self._kind = kind
        self._setup = setup
        self._redactor = Redactor.for_target(target)
        self._clock = clock
        self._outcome = RunOutcome.RUNNING
        self._exit_code: int | None = None
        self._note = ""
        self._findings: dict[str, Finding] = {}
        self._has_stale_findings = False
        self._files = RunFolder(self.folder)
        with self._files.writing(EXCHANGES_FILE):
            self._exchanges = HarWriter(self.folder / EXCHANGES_FILE)
        self._files.append(FINDINGS_FILE, b"")
        self.checkpoint()

    def __enter__(self) -> Self:
        return self

    @uninterrupted()
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._outcome is RunOutcome.RUNNING:
                note = "" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
                self.finish(RunOutcome.INTERRUPTED, ExitCode.INTERRUPTED, note=note)
        finally:
            self._exchanges.close()
            self._files.give_up_reserve()

    @property
    def findings(self) -> Mapping[str, Finding]:
        """By fingerprint, each as shown in the fewest steps."""
        return self._findings

    @uninterrupted()
    def add_exchange(self, exchange: Exchange) -> None:
        super().add_exchange(exchange)
        with self._files.writing(EXCHANGES_FILE):
            self._exchanges.add(exchange)
        if self._clock() >= self._next_checkpoint:
            self.checkpoint()

    @uninterrupted()
    def add_finding(self, finding: Finding) -> Finding:
        """Record a finding; if its fingerprint is known, count it, and keep the one with fewer steps.

        Returns:
            The finding that was passed in, its text redacted and printable.
        """
        finding = self._redactor.safe(finding)
        known = self._findings.get(finding.fingerprint)
        kept = finding if known is None else known.shorter_of(finding)
        if kept.has_long_script and (known is None or kept.script != known.script):
            script = kept.script.encode(errors="backslashreplace")
            self._files.replace(script_file(finding), script + b"\n")
        self._findings[finding.fingerprint] = kept
        if known is not None:
            self._has_stale_findings = True
            return finding
        self._files.append(FINDINGS_FILE, finding_format().dump_json(finding) + b"\n")
        return finding

    @uninterrupted()
    def explain(self, fingerprint: str, words: str) -> None:
        """Add to what was observed which of several requests show a finding; a gateway's is one for all."""
        known = self._findings[fingerprint]
        if words not in known.observed and not known.is_about_intermediary:
            observed = f"{known.observed}; {words}"
            self._findings[fingerprint] = self._redactor.safe(replace(known, observed=observed))
            self._has_stale_findings = True

    def add_created(self, line: bytes) -> None:
        """Write a line about a workflow that the run creates, before the next request is sent."""
        self._files.append(LEDGER_FILE, line)

    def add_file(self, name: str, content: bytes) -> None:
        self._files.replace(name, content)

    @uninterrupted()
    def finish(self, outcome: str, exit_code: int, note: str = "") -> None:
        self._outcome, self._exit_code, self._note = RunOutcome(outcome), int(exit_code), note
        self.checkpoint()

    @uninterrupted()
    def checkpoint(self) -> None:
        """Write what changes all the time: counts, findings seen again, how the run stands."""
        if self._has_stale_findings or self._files.is_lost:  # half a line may be in the file
            lines = [finding_format().dump_json(finding) + b"\n" for finding in self._findings.values()]
            self._files.replace(FINDINGS_FILE, b"".join(lines))
            self._has_stale_findings = False
        self._files.replace(RUN_FILE, run_file_format().dump_json(self._run_file()))
        self._next_checkpoint = self._clock() + _CHECKPOINT_EVERY_S

    def _run_file(self) -> RunFile:
        safe = self._redactor.safe
        return RunFile(
            kind=self._kind,
            outcome=self._outcome,
            exit_code=self._exit_code,
            note=safe(self._note),
            started_at=self._started_at,
            # The system's clock may be set during the run.
            written_at=self._started_at + timedelta(seconds=self._clock() - self._started_s),
            counts=self.counts(self._findings.values()),
            setup=self._setup,
            results=self.results(),
            cells=safe(tuple(self.cells)),
            untested=safe(self.untested),
            tests=self.tests,
            endless=self.endless,
        )


RESERVE_FILE = "room-for-the-end"
_RESERVE_BYTES = 490_000  # run.json of a whole run takes 350,000
_NOT_IN_A_FOLDER_NAME = re.compile(r"[^\w.-]+", re.ASCII)


class RunFolder:
    """Writes files of one folder, with some room reserved for the end.

    If the disk is full, the first call that fails raises a RunRecordError; later ones fail silently, so that
    the run can still clean up.

    Attributes:
        is_lost: A file may have been written in part.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_lost = False
        self._reserve = path / RESERVE_FILE
        with suppress(OSError):  # the run begins all the same, and may end without saying why
            replace_file(path, RESERVE_FILE, bytes(_RESERVE_BYTES))

    def append(self, name: str, content: bytes) -> None:
        with self.writing(name):
            append_to_file(self.path, name, content)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file so that its readers see the old or the new one, whole."""
        with self.writing(name):
            replace_file(self.path, name, content)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self.is_lost:
                return
            self.is_lost = True
            self.give_up_reserve()
            raise RunRecordError(
                f"{self.path / name}: cannot be written: {error.strerror}\n"
                "  What was written until then is kept. Make room there, or choose another --runs-folder."
            ) from error

    def give_up_reserve(self) -> None:
        """Free the reserved room, in which a run whose disk is full can still record how it ended."""
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)


def make_run_folder(root: Path, *, kind: str, target_name: str, at: datetime) -> Path:
    """Make ``<UTC time>-<kind>-<target>``, with a number if that name is taken; no other user can read it."""
    name = f"{at:%Y%m%dT%H%M%SZ}-{kind}-{_NOT_IN_A_FOLDER_NAME.sub('_', target_name)}"
    folder = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in count(2):
            try:
                folder.mkdir(mode=0o700)
                break
            except FileExistsError:
                folder = root / f"{name}-{number}"
    except OSError as error:
        raise RunRecordError(
            f"{root}: no run folder can be made there: {error.strerror}\n"
            "  Choose another folder with --runs-folder."
        ) from error
    return folder
