"""Which run folders may go, and their removal; what the index knows of them stays."""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.reporting.history.entry import Entry

_STILL_WRITES: Final = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class PruningPlan:
    """What would be deleted, and what only a kept summary or a run that still writes holds back."""

    doomed: tuple[Entry, ...]
    held_back: tuple[Entry, ...]


def plan_pruning(
    entries: Sequence[Entry],
    *,
    now: datetime,
    keep: int | None,
    older_than: timedelta | None,
    kept_runs: Collection[str],
) -> PruningPlan:
    """Choose what may go: neither of the newest, nor newer than that, nor what a summary was made of."""
    there = [entry for entry in entries if not entry.is_pruned]
    chosen = [
        entry for entry in there[keep or 0 :] if older_than is None or now - entry.started_at > older_than
    ]
    held_back = [entry for entry in chosen if entry.folder in kept_runs or _may_still_run(entry, now)]
    return PruningPlan(
        doomed=tuple(entry for entry in chosen if entry not in held_back), held_back=tuple(held_back)
    )


def kept_runs(baselines: Path) -> set[str]:
    """The names of the runs that kept summaries were made of.

    Raises:
        RunRecordError: One of the summaries cannot be read.
    """
    return {
        run.run
        for path in sorted(baselines.glob("*.json"))
        for run in read_side([path], baselines=baselines).runs
    }


def delete_run(entry: Entry, runs_folder: Path) -> None:
    """Delete a run's folder.

    Raises:
        RunRecordError: It cannot be deleted, or not all of it.
    """
    folder = runs_folder / entry.folder
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RunRecordError(f"{folder}: cannot be deleted: {error.strerror or error}") from error


def _may_still_run(entry: Entry, now: datetime) -> bool:
    last_seen = entry.started_at + timedelta(seconds=entry.duration_s)
    return entry.exit_code is None and now - last_seen < _STILL_WRITES
