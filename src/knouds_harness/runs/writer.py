"""Writing a run record while the run goes, so that nothing is lost however the run ends."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, RunRecordError
from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.har import HarWriter
from knouds_harness.exchange.pricing import charged_credits
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.header import RunHeader, RunSetup
from knouds_harness.runs.results import (
    Cell,
    Counts,
    Result,
    RunFile,
    Untested,
    finding_format,
    run_file_format,
)
from knouds_harness.runs.surface import SURFACE_FILE, Surface, surface_format
from knouds_harness.runs.verdicts import Outcome

RUN_FILE = "run.json"
FINDINGS_FILE = "findings.jsonl"
EXCHANGES_FILE = "exchanges.har"
_CHECKPOINT_EVERY_S = 1.0
_RESERVE_FILE = ".room-for-the-end"
_RESERVE_BYTES = 390_000  # run.json of a whole run takes 300,000
_NOT_IN_A_FOLDER_NAME = re.compile(r"[^\w.-]+", re.ASCII)


@dataclass(slots=True)
class _Tally:
    """How often a fact held in one check on one operation, counted while the run goes."""

    passed: int = 0
    failed: int = 0
    passed_exchange: str | None = None
    failed_exchange: str | None = None


@dataclass(slots=True)
class _Effort:
    """How much was sent, counted while the run goes."""

    exchanges: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    cost_credits: float = 0.0


class RunWriter:
    """Writes one run folder; use it as a context manager.

    Each exchange and each new finding is in its file when the call returns. Counts are written at most once a
    second and at the end, so a process that is killed loses at most the counts of its last second.

    Where the disk gives out, the first call that notices raises; later ones keep silent, so that the run can
    still clean up behind itself.

    Attributes:
        folder: Where the record is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: str,
        setup: RunSetup,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        """Start writing into an empty folder; ``RunWriter.start`` makes one.

        Raises:
            RunRecordError: The folder cannot be written to.
        """
        self.folder = folder
        self._kind = kind
        self._setup = setup
        self._now = now
        self._clock = clock
        self._started_at = now()
        self._outcome = Outcome.RUNNING
        self._exit_code: int | None = None
        self._note = ""
        self._effort = _Effort()
        self._tallies: dict[tuple[str, str, str | None], _Tally] = {}
        self._cells: list[Cell] = []
        self._untested: dict[tuple[str, str, str | None], Untested] = {}
        self._findings: dict[str, Finding] = {}
        self._surface: Callable[[], Surface] | None = None
        self._has_stale_counts = False
        self._is_lost = False
        self._reserve = folder / _RESERVE_FILE
        with suppress(OSError):  # then the run may end without saying why, and begins all the same
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))
        with self._writing(EXCHANGES_FILE):
            self._exchanges = HarWriter(folder / EXCHANGES_FILE)
        with self._writing(FINDINGS_FILE):
            (folder / FINDINGS_FILE).touch()
        self.checkpoint()

    @classmethod
    def start(
        cls,
        root: Path,
        *,
        kind: str,
        target_name: str,
        header: RunHeader,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Make the folder ``<UTC time>-<kind>-<target>`` and begin the record in it.

        Args:
            root: The folder of all runs; made if it is not there.
            kind: What runs, such as ``check``.
            target_name: Of the profile.
            header: What the run is.
            now: The time of day, UTC.
            clock: A monotonic clock, in seconds.

        Raises:
            RunRecordError: The folder cannot be made or written to.
        """
        name = f"{now():%Y%m%dT%H%M%SZ}-{kind}-{_NOT_IN_A_FOLDER_NAME.sub('_', target_name)}"
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder = _made_anew(root, name)
        except OSError as error:
            raise RunRecordError(
                f"{root}: no run folder can be made there: {error.strerror}\n"
                "  Choose another folder with --runs-folder."
            ) from error
        return cls(folder, kind=kind, setup=header.setup(), now=now, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._outcome is Outcome.RUNNING:
                note = "" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
                self.finish(Outcome.INTERRUPTED, ExitCode.INTERRUPTED, note=note)
        finally:
            self._exchanges.close()
            self._give_up_reserve()

    def watch(self, surface: Callable[[], Surface]) -> None:
        """Ask for the observed surface from now on, whenever counts are written."""
        self._surface = surface

    def add_exchange(self, exchange: Exchange) -> None:
        """Keep an exchange as evidence.

        Raises:
            RunRecordError: It cannot be written.
        """
        effort = self._effort
        effort.exchanges += 1
        effort.answers["none" if exchange.status is None else str(exchange.status)] += 1
        if exchange.request.action is Action.RUN:
            charged = charged_credits(exchange)
            effort.cost_credits += exchange.request.cost_credits if charged is None else charged
        with self._writing(EXCHANGES_FILE):
            self._exchanges.add(exchange)
        if self._clock() >= self._next_checkpoint:
            self.checkpoint()

    def add_finding(self, finding: Finding) -> None:
        """Keep a finding; where its fingerprint is known, count it, and keep the one that takes fewer steps.

        Raises:
            RunRecordError: It cannot be written.
        """
        known = self._findings.get(finding.fingerprint)
        if known is not None:
            self._findings[finding.fingerprint] = known.shorter_of(finding)
            self._has_stale_counts = True
            return
        self._findings[finding.fingerprint] = finding
        with self._writing(FINDINGS_FILE), (self.folder / FINDINGS_FILE).open("ab", buffering=0) as file:
            file.write(finding_format().dump_json(finding) + b"\n")

    def add_result(
        self,
        *,
        check: str,
        fact: str,
        operation: str | None,
        persona: str | None = None,
        passed: bool,
        exchange_id: str | None,
    ) -> None:
        """Count that a check saw a fact kept, or not kept."""
        del persona  # whose key it was shows in the evidence; a tally for each would be noise
        key = (check, fact, operation)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        if passed:
            tally.passed += 1
            tally.passed_exchange = tally.passed_exchange or exchange_id
        else:
            tally.failed += 1
            tally.failed_exchange = tally.failed_exchange or exchange_id

    def add_cell(
        self,
        *,
        operation: str,
        persona: str,
        expected: str,
        observed: str,
        ok: bool,
        exchange_id: str | None,
    ) -> None:
        """Keep one try of one operation as one persona: ``expected`` is ``admitted`` or ``denied``."""
        self._cells.append(
            Cell(
                operation=operation,
                persona=persona,
                expected=expected,
                observed=observed,
                ok=ok,
                exchange_id=exchange_id,
            )
        )

    def add_untested(self, *, check: str, fact: str, operation: str | None, missing: str) -> None:
        """Keep that something could not be checked, and what is missing for it."""
        self._untested[check, fact, operation] = Untested(
            check=check, fact=fact, operation=operation, missing=missing
        )

    def finish(self, outcome: str, exit_code: int, note: str = "") -> None:
        """Write down how the run ended.

        Args:
            outcome: One of ``Outcome``.
            exit_code: What the command exits with.
            note: Why it ended early, for people.

        Raises:
            RunRecordError: It cannot be written.
        """
        self._outcome, self._exit_code, self._note = Outcome(outcome), int(exit_code), note
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write what changes all the time: the counts, what was seen, and that the run still goes."""
        if self._has_stale_counts:
            lines = [finding_format().dump_json(finding) + b"\n" for finding in self._findings.values()]
            self._replace(FINDINGS_FILE, b"".join(lines))
            self._has_stale_counts = False
        if self._surface is not None:
            self._replace(SURFACE_FILE, surface_format().dump_json(self._surface(), indent=1))
        self._replace(RUN_FILE, run_file_format().dump_json(self._run_file()))
        self._next_checkpoint = self._clock() + _CHECKPOINT_EVERY_S

    def _replace(self, name: str, content: bytes) -> None:
        """Write a file so that whoever reads it sees the old or the new one, whole."""
        part = self.folder / f"{name}.part"
        with self._writing(name):
            try:
                part.write_bytes(content)
                part.replace(self.folder / name)
            finally:
                part.unlink(missing_ok=True)

    def _run_file(self) -> RunFile:
        tallies = self._tallies
        return RunFile(
            kind=self._kind,
            outcome=self._outcome,
            exit_code=self._exit_code,
            note=self._note,
            started_at=self._started_at,
            written_at=self._now(),
            counts=Counts(
                exchanges=self._effort.exchanges,
                answers=dict(sorted(self._effort.answers.items())),
                passed=sum(tally.passed for tally in tallies.values()),
                failed=sum(tally.failed for tally in tallies.values()),
                findings=Counter(finding.verdict.value for finding in self._findings.values()),
                cost_credits=self._effort.cost_credits,
            ),
            setup=self._setup,
            results=tuple(
                Result(
                    check=check,
                    fact=fact,
                    operation=operation,
                    passed=tally.passed,
                    failed=tally.failed,
                    passed_exchange=tally.passed_exchange,
                    failed_exchange=tally.failed_exchange,
                )
                for (check, fact, operation), tally in tallies.items()
            ),
            cells=tuple(self._cells),
            untested=tuple(self._untested.values()),
        )

    def _give_up_reserve(self) -> None:
        """Make the room in which a run whose disk is full can still say how it ended."""
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._is_lost:
                return
            self._is_lost = self._has_stale_counts = True  # half a line may be in the file of findings
            self._give_up_reserve()
            raise RunRecordError(
                f"{self.folder / name}: cannot be written: {error.strerror}\n"
                "  What was written until then is kept. Make room there, or choose another --runs-folder."
            ) from error


def _made_anew(root: Path, name: str) -> Path:
    """A folder of this name, or of this name and a number where there is one already."""
    for number in count(1):
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            os.mkdir(folder)  # noqa: PTH102 - pathlib adds nothing
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # pragma: no cover
