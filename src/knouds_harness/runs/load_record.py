"""The files of a load run beside ``run.json``: written during the run, and read back."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from io import StringIO, TextIOWrapper
from math import log2
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from knouds_harness.files import OwnsFile, file_content, new_text_file, replace_file
from knouds_harness.runs.load_results import LOAD_FILE, LoadResults
from knouds_harness.runs.operation_load import SECOND_TIMES, STATUSES, SecondRow, status_named

SECONDS_FILE = "seconds.csv"
_COLUMNS = ("at_s", "operation", *STATUSES, *SECOND_TIMES, "spread")


@cache
def load_file_format() -> TypeAdapter[LoadResults]:
    return TypeAdapter(LoadResults)


class LoadWriter(OwnsFile):
    _file: TextIOWrapper

    def __init__(self, folder: Path) -> None:
        """Start an empty ``seconds.csv``."""
        self._folder = folder
        self._file = new_text_file(folder, SECONDS_FILE)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def add_seconds(self, rows: Iterable[SecondRow]) -> None:
        for row in rows:
            counts = [row.by_status.get(status, 0) for status in STATUSES]
            times = [
                "" if time is None else f"{time:.6g}"
                for time in (getattr(row, name) for name in SECOND_TIMES)
            ]
            self._rows.writerow([row.at_s, row.operation, *counts, *times, row.spread])

    def write(self, results: LoadResults) -> None:
        replace_file(self._folder, LOAD_FILE, load_file_format().dump_json(results, indent=1))


def read_results(folder: Path, gaps: list[str]) -> LoadResults | None:
    """Read ``load.json``: None for a run of another kind. Append what cannot be read to ``gaps``."""
    try:
        return load_file_format().validate_json(file_content(folder / LOAD_FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        gaps.append(f"{LOAD_FILE} cannot be read ({error.strerror}): no figures are shown.")
    except ValidationError:
        gaps.append(f"{LOAD_FILE} is damaged or of another version: no figures are shown.")
    return None


def read_seconds(folder: Path, gaps: list[str]) -> tuple[SecondRow, ...]:
    """Read ``seconds.csv``, without lines that are damaged. Append what cannot be read to ``gaps``."""
    path = folder / SECONDS_FILE
    rows: list[SecondRow] = []
    try:
        whole, _, half = file_content(path).decode(errors="replace").rpartition("\n")
    except OSError as error:
        gaps.append(f"{SECONDS_FILE} cannot be read ({error.strerror}): nothing is shown over time.")
        return ()
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
    return tuple(rows)


def _row(cells: dict[str, str]) -> SecondRow:
    spread_counts(cells.get("spread") or "")
    counts = {status_named(name): cell for name, cell in cells.items()}
    times = {name: float(cells[name]) if cells[name] else None for name in SECOND_TIMES}
    return SecondRow(
        at_s=int(cells["at_s"]),
        operation=cells["operation"],
        by_status={status: int(counts[status]) for status in STATUSES},
        spread=cells.get("spread") or "",
        **times,
    )


PER_DOUBLING: Final = 8
_WRITTEN: Final = re.compile(r"(?:\d{1,3}:\d{1,15}(?: |$))*", re.ASCII)


@cache
def spread_bucket(duration_ns: int) -> int:
    """Return the number of a duration's bucket; the first has everything below a microsecond too."""
    return int(log2(max(duration_ns, 1000) / 1000) * PER_DOUBLING)


def spread_text(durations: Iterable[tuple[int, int]]) -> str:
    """Write counts of durations by bucket as text, such as ``72:4 73:11``."""
    counts = Counter[int]()
    for duration_ns, count in durations:
        counts[spread_bucket(duration_ns)] += count
    return " ".join(f"{bucket}:{counts[bucket]}" for bucket in sorted(counts))


def spread_counts(text: str) -> Counter[int]:
    """Return the counts that ``spread_text`` wrote, by bucket; raise ``ValueError`` for other text."""
    if not _WRITTEN.fullmatch(text):
        raise ValueError(text)
    pairs = (part.split(":") for part in text.split())
    return Counter({int(bucket): int(count) for bucket, count in pairs})
