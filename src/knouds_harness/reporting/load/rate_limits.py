"""The rate limits that a load run met: each window of an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from knouds_harness.contract.operations import WINDOW_S
from knouds_harness.reporting.report import HTML, Column, Table, Toned, bar, numbers
from knouds_harness.runs.load_results import LimitWindow, LoadResults

_MOST_LISTED: Final = 100


@dataclass(frozen=True, kw_only=True)
class DrawnWindow:
    """A window, and its place on its track.

    Attributes:
        left: Where it begins on the track, in percent.
        filled: Admitted requests in percent of the limit, at most 100.
        waiting: What became of requests after the wait that was asked for; empty if none was refused.
    """

    window: LimitWindow
    from_s: int
    to_s: int
    left: float
    width: float
    filled: float
    is_over: bool
    waiting: str


@dataclass(frozen=True, kw_only=True)
class Track:
    """All windows of one operation of one account, in order of time."""

    name: str
    limit: int
    windows: tuple[DrawnWindow, ...]

    @property
    def says(self) -> str:
        most = max(each.window.admitted for each in self.windows)
        throttled = sum(each.window.throttled for each in self.windows)
        counted = f"{len(self.windows):,} {'window' if len(self.windows) == 1 else 'windows'}"
        return f"{counted}, at most {most:,} of {self.limit:,} admitted, {throttled:,} throttled"


def tracks_of(load: LoadResults) -> list[Track]:
    """Return the windows that a run met, by operation and account; all tracks have the same scale."""
    if not load.windows:
        return []
    first_s = min(each.ends_unix_s for each in load.windows) - WINDOW_S
    begun_s = int(first_s if load.begun_unix_s is None else load.begun_unix_s)
    begins_s = min(first_s, begun_s)
    whole_s = max(each.ends_unix_s for each in load.windows) - begins_s

    def drawn(window: LimitWindow) -> DrawnWindow:
        from_unix_s = window.ends_unix_s - WINDOW_S
        return DrawnWindow(
            window=window,
            from_s=from_unix_s - begun_s,
            to_s=window.ends_unix_s - begun_s,
            left=100 * (from_unix_s - begins_s) / whole_s,
            width=100 * WINDOW_S / whole_s,
            filled=100 * min(1.0, window.admitted / window.limit),
            is_over=window.admitted > window.limit,
            waiting=_waiting(window),
        )

    return [
        Track(name=f"{operation} of {user}, {tier}", limit=limit, windows=tuple(map(drawn, windows)))
        for (operation, user, tier, limit), windows in groupby(
            load.windows, key=lambda each: (each.operation, each.user, each.tier, each.limit)
        )
    ]


def listed(tracks: Sequence[Track]) -> list[tuple[Track, DrawnWindow]]:
    """Return the windows for a table: all, or the first hundred that throttled or admitted too much."""
    everything = [(track, window) for track in tracks for window in track.windows]
    if len(everything) <= _MOST_LISTED:
        return everything
    return [each for each in everything if each[1].window.throttled or each[1].is_over][:_MOST_LISTED]


def _waiting(window: LimitWindow) -> str:
    if window.waits_broken:
        return f"{window.waits_broken:,} refused again"
    if window.waits_kept:
        return f"{window.waits_kept:,} of {window.waits_kept:,} in the next window"
    return "none was sent" if window.throttled else ""


def window_table(windows: Sequence[tuple[Track, DrawnWindow]]) -> Table:
    rows = []
    for track, each in windows:
        wait_s = each.window.longest_wait_s
        told = (f"up to {wait_s:,} s" if wait_s else "not said") if each.waiting else ""
        rows.append(
            (
                track.name,
                f"{each.from_s} to {each.to_s}",
                Toned(f"{each.window.admitted:,}", "bad") if each.is_over else f"{each.window.admitted:,}",
                f"{track.limit:,}",
                bar(each.filled / 100, "bad" if each.is_over else "note"),
                f"{each.window.throttled:,}" if each.window.throttled else Toned("0", "plain"),
                told,
                Toned(each.waiting, "bad") if each.window.waits_broken else each.waiting,
            )
        )
    return Table(
        "Windows of rate limits",
        (
            Column("Operation and account", is_name=True),
            Column("Seconds"),
            *numbers("Admitted", "Limit"),
            Column("Of the limit"),
            *numbers("Throttled", "Told to wait"),
            Column("After that wait"),
        ),
        rows,
        shown=HTML,
    )
