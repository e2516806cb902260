"""The index of run records: an SQLite file, brought up to date from the folders of the runs."""

import json
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.reporting.history.entry import Entry, entry_of, figures_of
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.load_results import LOAD_FILE
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import FINDINGS_FILE, RUN_FILE

_VERSION: Final = 1
_LOCK_WAIT_S: Final = 5.0
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA: Final = """
CREATE TABLE runs (
  folder TEXT PRIMARY KEY, stamp TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL,
  started_at TEXT NOT NULL, outcome TEXT NOT NULL, exit_code INTEGER, seed INTEGER NOT NULL,
  tool_version TEXT NOT NULL, contract_version TEXT NOT NULL, duration_s REAL NOT NULL,
  cost_credits REAL NOT NULL, findings TEXT NOT NULL, scenario TEXT NOT NULL, setting TEXT NOT NULL,
  is_valid INTEGER, is_pruned INTEGER NOT NULL
);
CREATE TABLE figures (
  folder TEXT NOT NULL, measure TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (measure, folder)
) WITHOUT ROWID;
"""
_STILL_WRITES: Final = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The result of a refresh: how many runs were read, and which could not be read."""

    read: int
    unreadable: tuple[str, ...]


class Index:
    """Runs, and their figures by measure; a run whose folder is gone stays, marked as pruned."""

    def __init__(self, path: Path) -> None:
        """Open an index, or make a new one.

        A damaged one, or one of another version, is put aside and made anew.
        """
        self._path = path
        self.note = ""
        with self._told():
            try:
                self._connection = _connected(path)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                self.note = (
                    f"{path} was damaged or of another version, and is made anew, without the runs whose "
                    f"folders are gone; the old one is {aside.name}."
                )
                self._connection = _connected(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def refresh(self, runs_folder: Path) -> Refreshed:
        """Read new and changed runs, and mark those that are gone.

        Raises:
            RunRecordError: The folder does not exist, or the index cannot be written.
        """
        try:
            folders = sorted(
                each for each in runs_folder.iterdir() if each.is_dir() and not each.name.startswith(".")
            )
        except OSError as error:
            raise RunRecordError(
                f"{runs_folder}: cannot be read as a folder of runs: {(error.strerror or '').lower()}\n"
                "  Run `knouds-harness check` or `load` first, or name the folder with --runs-folder."
            ) from None
        unreadable = []
        read = 0
        with self._told(), self._connection:
            known = dict(self._connection.execute("SELECT folder, stamp FROM runs"))
            for folder in folders:
                stamp = _stamp(folder)
                if stamp and known.get(folder.name) == stamp:
                    continue
                try:
                    record = read_run(folder)
                except RunRecordError:
                    unreadable.append(folder.name)
                    continue
                self._write(entry_of(record), figures_of(record), stamp)
                read += 1
            self._mark_pruned({each.name for each in folders})
        return Refreshed(read=read, unreadable=tuple(unreadable))

    def entries(self) -> list[Entry]:
        with self._told():
            cursor = self._connection.cursor()
            cursor.row_factory = sqlite3.Row
            cursor.execute("SELECT * FROM runs ORDER BY started_at DESC, folder DESC")
            return [_entry(row) for row in cursor]

    def figures(self, measure: str) -> Mapping[str, float]:
        with self._told():
            found = self._connection.execute(
                "SELECT folder, value FROM figures WHERE measure = ?", (measure,)
            )
            return dict(found)

    def measures(self) -> dict[str, int]:
        """Return the full name of every measure, and how many runs have it."""
        counted = "SELECT measure, count(*) FROM figures GROUP BY measure ORDER BY measure"
        with self._told():
            return dict(self._connection.execute(counted))

    def _write(self, entry: Entry, figures: Mapping[str, float], stamp: str) -> None:
        values = asdict(entry) | {
            "stamp": stamp,
            "started_at": entry.started_at.isoformat(),
            "outcome": entry.outcome.value,
            "findings": json.dumps(dict(entry.findings)),
            "is_pruned": False,
        }
        places = ", ".join(f":{name}" for name in values)
        self._connection.execute(
            f"INSERT OR REPLACE INTO runs ({', '.join(values)}) VALUES ({places})",  # noqa: S608 - names of ours
            values,
        )
        self._connection.execute("DELETE FROM figures WHERE folder = ?", (entry.folder,))
        self._connection.executemany(
            "INSERT INTO figures (folder, measure, value) VALUES (?, ?, ?)",
            [(entry.folder, measure, value) for measure, value in figures.items()],
        )

    def _mark_pruned(self, there: set[str]) -> None:
        known = [folder for (folder,) in self._connection.execute("SELECT folder FROM runs")]
        self._connection.executemany(
            "UPDATE runs SET is_pruned = ? WHERE folder = ?",
            [(folder not in there, folder) for folder in known],
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise errors of SQLite and the system as ``RunRecordError``."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise RunRecordError(
                    f"{self._path}: another process holds it\n  Try again when that has ended."
                ) from error
            raise RunRecordError(
                f"{self._path}: {error}\n  Delete it, and it is made anew from the folders of the runs."
            ) from error
        except OSError as error:
            raise RunRecordError(f"{self._path}: cannot be written: {error.strerror}") from error


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok" or (tables and version != _VERSION):
            raise _OtherIndexError
        if not tables:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


class _OtherIndexError(sqlite3.DatabaseError):
    """The file can be opened, but it is damaged inside or of another version."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return _code(error) in _DAMAGED


def _code(error: sqlite3.DatabaseError) -> int:
    """Return SQLite's primary code, without the upper bits."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _stamp(folder: Path) -> str:
    """Return a text that changes when a folder is written to; empty if it holds no run."""
    parts = []
    for name in (RUN_FILE, LOAD_FILE, FINDINGS_FILE):
        try:
            state = (folder / name).stat()
        except OSError:
            parts.append("-")
        else:
            parts.append(f"{state.st_mtime_ns}/{state.st_size}")
    return "" if parts[0] == "-" else " ".join(parts)


def _entry(row: sqlite3.Row) -> Entry:
    columns = dict(row)
    del columns["stamp"]
    is_valid = columns.pop("is_valid")
    return Entry(
        **{
            **columns,
            "started_at": datetime.fromisoformat(columns["started_at"]),
            "outcome": RunOutcome(columns["outcome"]),
            "findings": json.loads(columns["findings"]),
            "is_valid": None if is_valid is None else bool(is_valid),
            "is_pruned": bool(columns["is_pruned"]),
        }
    )


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """The runs to delete, and those held back: a kept summary needs them, or they may still be written."""

    to_delete: tuple[Entry, ...]
    held_back: tuple[Entry, ...]


def plan_pruning(
    entries: Sequence[Entry],
    *,
    now: datetime,
    keep: int | None,
    older_than: timedelta | None,
    kept_runs: Collection[str],
) -> PruningPlan:
    """Choose runs to delete: not the newest, none newer than ``older_than``, none of a kept summary."""
    there = [entry for entry in entries if not entry.is_pruned]
    chosen = [
        entry for entry in there[keep or 0 :] if older_than is None or now - entry.started_at > older_than
    ]
    held_back = [entry for entry in chosen if entry.folder in kept_runs or _may_still_run(entry, now)]
    return PruningPlan(
        to_delete=tuple(entry for entry in chosen if entry not in held_back), held_back=tuple(held_back)
    )


def kept_runs(baselines: Path) -> set[str]:
    """Return the names of the runs of which kept summaries were made."""
    return {
        run.run
        for path in sorted(baselines.glob("*.json"))
        for run in read_side([path], baselines=baselines).runs
    }


def delete_run(entry: Entry, runs_folder: Path) -> None:
    folder = runs_folder / entry.folder
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RunRecordError(f"{folder}: cannot be deleted: {error.strerror or error}") from error


def _may_still_run(entry: Entry, now: datetime) -> bool:
    last_seen = entry.started_at + timedelta(seconds=entry.duration_s)
    return entry.exit_code is None and now - last_seen < _STILL_WRITES
