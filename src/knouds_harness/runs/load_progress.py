"""How a load run stands while it goes: a file that is replaced once a second, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from knouds_harness.runs.load_results import ErrorCount


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """One moment of a load run. What is *recent* is of the last seconds that are whole.

    Attributes:
        folder: Of the record; None where none is kept.
        at_s: Seconds since load began; negative before that.
        duration_s: How long load is to last.
        warm_up_s: What of it is left out of the figures.
        asked_per_s: Arrivals per second that the plan asks for now; None in the closed model.
        recent_per_s: Requests that ended, per second.
        in_flight: Requests, or tasks, that are under way; None where workers have not said.
        users: Who could be.
        requests: How many ended since the beginning.
        outcomes: The same by outcome.
        errors: What was not kept since the beginning, most frequent first.
        percentiles_ms: Recent response times of what was kept, by percent as text, and ``max``; or empty.
        spent_credits: What was charged, or may have been.
        most_credits: What may be; None where nothing is spent.
        cpu_share: Of one core, of the busiest process, since the warm-up.
        lateness_p99_ms: Of recent arrivals against their schedule; None in the closed model.
        loop_lag_p99_ms: Of the event loop, recently.
        dropped: Arrivals that found nobody idle, since the warm-up.
        limits: Why the generator, and not the target, is the limit just now; sentences.
        doubts: What the figures lack for good, such as those of a lost worker; sentences.
    """

    folder: str | None
    at_s: float
    duration_s: float
    warm_up_s: float
    asked_per_s: float | None
    recent_per_s: float
    in_flight: int | None
    users: int
    requests: int
    outcomes: Mapping[str, int]
    errors: tuple[ErrorCount, ...]
    percentiles_ms: Mapping[str, float]
    spent_credits: float
    most_credits: float | None
    cpu_share: float
    lateness_p99_ms: float | None
    loop_lag_p99_ms: float
    dropped: int
    limits: tuple[str, ...]
    doubts: tuple[str, ...] = ()


@cache
def _file_format() -> TypeAdapter[LoadProgress]:
    return TypeAdapter(LoadProgress)


def write_progress(path: Path, progress: LoadProgress) -> None:
    """Put it in place of an earlier one; a full disk is no reason to disturb the load."""
    part = path.with_name(f"{path.name}.part")
    with suppress(OSError):
        part.write_bytes(_file_format().dump_json(progress))
        part.replace(path)


def read_progress(path: Path) -> LoadProgress | None:
    """The latest; None where there is none yet."""
    try:
        return _file_format().validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
