"""The files of a load run beside ``run.json``: written while it goes, and read back."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from knouds_harness.file_content import file_content, replace_file
from knouds_harness.runs.load_results import (
    LOAD_FILE,
    OUTCOMES,
    SECOND_TIMES,
    LoadResults,
    SecondRow,
    load_file_format,
)
from knouds_harness.runs.spread import check_spread

SECONDS_FILE = "seconds.csv"
_COLUMNS = ("at_s", "operation", *OUTCOMES, *SECOND_TIMES, "spread")


@dataclass(frozen=True, kw_only=True)
class LoadRecord:
    """What a load run measured.

    Attributes:
        results: The contents of ``load.json``.
        seconds: The lines of ``seconds.csv``, warm-up included.
    """

    results: LoadResults
    seconds: tuple[SecondRow, ...]


class LoadWriter:
    """Writes a load run's files into its folder."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty ``seconds.csv``."""
        self._folder = folder
        self._file = (folder / SECONDS_FILE).open("w", encoding="utf-8", newline="", buffering=1)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_seconds(self, rows: Iterable[SecondRow]) -> None:
        """Keep what a second brought."""
        for row in rows:
            counts = [row.outcomes.get(outcome, 0) for outcome in OUTCOMES]
            times = [
                "" if time is None else f"{time:.6g}"
                for time in (getattr(row, name) for name in SECOND_TIMES)
            ]
            self._rows.writerow([row.at_s, row.operation, *counts, *times, row.spread])

    def write(self, results: LoadResults) -> None:
        """Write ``load.json``, in place of an earlier one."""
        replace_file(self._folder / LOAD_FILE, load_file_format().dump_json(results, indent=1))

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def read_load(folder: Path, gaps: list[str]) -> LoadRecord | None:
    """What a load run measured; None for a run of another kind.

    Args:
        folder: Folder of the run.
        gaps: Gets a sentence for what cannot be read.
    """
    results = read_results(folder, gaps)
    if results is None:
        return None
    return LoadRecord(results=results, seconds=tuple(_read_seconds(folder / SECONDS_FILE, gaps)))


def read_results(folder: Path, gaps: list[str]) -> LoadResults | None:
    """The same without what each second brought."""
    try:
        return load_file_format().validate_json(file_content(folder / LOAD_FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        gaps.append(f"{LOAD_FILE} cannot be read ({error.strerror}): no figures are shown.")
    except ValidationError:
        gaps.append(f"{LOAD_FILE} is damaged or of another version: no figures are shown.")
    return None


def _read_seconds(path: Path, gaps: list[str]) -> list[SecondRow]:
    rows: list[SecondRow] = []
    try:
        whole, _, half = file_content(path).decode(errors="replace").rpartition("\n")
    except OSError as error:
        gaps.append(f"{SECONDS_FILE} cannot be read ({error.strerror}): nothing is shown over time.")
        return rows
    reader = csv.DictReader(StringIO(whole))
    try:
        for number, cells in enumerate(reader, start=2):
            try:
                rows.append(_row(cells))
            except (KeyError, TypeError, ValueError):
                gaps.append(f"{SECONDS_FILE}, line {number} is damaged, and is left out.")
    except csv.Error:
        gaps.append(f"{SECONDS_FILE} is damaged from line {reader.reader.line_num} on, which is left out.")
    if half:
        gaps.append(f"{SECONDS_FILE}, line {whole.count(chr(10)) + 2} is cut short, and is left out.")
    return rows


def _row(cells: dict[str, str]) -> SecondRow:
    check_spread(cells.get("spread") or "")
    times = {name: float(cells[name]) if cells[name] else None for name in SECOND_TIMES}
    return SecondRow(
        at_s=int(cells["at_s"]),
        operation=cells["operation"],
        outcomes={outcome: int(cells[outcome]) for outcome in OUTCOMES},
        spread=cells.get("spread") or "",
        **times,
    )
