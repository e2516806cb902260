"""Progress and end of a load run: lines in a pipe to the process that started it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final

from pydantic import TypeAdapter

from knouds_harness.runs.operation_load import ErrorCount

_PIECE_BYTES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """The state of a load run at one moment; *recent* means the last complete seconds.

    Attributes:
        at_s: Seconds since load began; negative before that.
        ended_at_s: When it ended, and answers were awaited from then on; None while it goes on.
        asked_per_s: Arrivals per second that the plan asks for now; None in the closed model.
        in_flight: Tasks under way; None in the closed model.
        waiting: Requests that have been in flight for over a second, the longest for ``longest_wait_s``.
        percentiles_ms: Recent response times of what was ok, by percent as text, and ``max``; or empty.
        cpu_share: Share of one core that the busiest process used since the warm-up.
        lateness_p99_ms: Of recent arrivals; None in the closed model.
        limits: Why less is sent than was asked for just now; sentences.
        doubts: What is missing in the figures for good, such as those of a lost worker; sentences.
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
    by_status: Mapping[str, int]
    errors: tuple[ErrorCount, ...]
    percentiles_ms: Mapping[str, float]
    spent_credits: float
    most_credits: float | None
    cpu_share: float
    lateness_p99_ms: float | None
    loop_lag_p99_ms: float
    dropped: int
    waiting: int = 0
    longest_wait_s: float = 0.0
    ended_at_s: float | None = None
    limits: tuple[str, ...]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProgressMessage:
    """What a load run has told so far; ``exit_code`` is None if there is no verdict, or not yet."""

    progress: LoadProgress | None = None
    exit_code: int | None = None

    @property
    def has_begun(self) -> bool:
        return self.progress is not None and self.progress.at_s >= 0


@cache
def _line_format() -> TypeAdapter[ProgressMessage]:
    return TypeAdapter(ProgressMessage)


def tell(descriptor: int, told: ProgressMessage) -> None:
    """Write a line into a pipe; ignore a reader that is gone, so that the load goes on."""
    line = _line_format().dump_json(told) + b"\n"
    with suppress(OSError):
        while line:
            line = line[os.write(descriptor, line) :]


class Listener:
    """Reads the messages of a load run from its end of a pipe, which cannot be removed as a file can."""

    def __init__(self, reading: int) -> None:
        self._reading = reading
        os.set_blocking(reading, False)
        self._rest = b""
        self.told = ProgressMessage()

    def hear(self) -> ProgressMessage:
        with suppress(BlockingIOError):
            while piece := os.read(self._reading, _PIECE_BYTES):
                *lines, self._rest = (self._rest + piece).split(b"\n")
                for line in lines:
                    heard = _line_format().validate_json(line)
                    self.told = ProgressMessage(
                        progress=heard.progress or self.told.progress,
                        exit_code=self.told.exit_code if heard.exit_code is None else heard.exit_code,
                    )
        return self.told
