"""The rate limits that a load run met: each window of an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from knouds_harness.contract.operations import WINDOW_S
from knouds_harness.printable import counted
from knouds_harness.reporting.report import HTML, Column, Columns, Table, Toned, Words, bar, table_of
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
        windows = counted(len(self.windows), "window")
        return f"{windows}, at most {most:,} of {self.limit:,} admitted, {throttled:,} throttled"


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

    accounts = groupby(load.windows, key=lambda each: (_account(each), each.limit))
    return [
        Track(name=name, limit=limit, windows=tuple(map(drawn, windows)))
        for (name, limit), windows in accounts
    ]


def _account(window: LimitWindow) -> str:
    return f"{window.operation} of {window.user}, {window.tier}"


def listed(tracks: Sequence[Track]) -> list[DrawnWindow]:
    """Return the windows for a table: all, or the first hundred that throttled or admitted too much."""
    windows = [each for track in tracks for each in track.windows]
    if len(windows) <= _MOST_LISTED:
        return windows
    return [each for each in windows if each.window.throttled or each.is_over][:_MOST_LISTED]


def _waiting(window: LimitWindow) -> str:
    if window.waits_broken:
        return f"{window.waits_broken:,} refused again"
    if window.waits_kept:
        return f"{window.waits_kept:,} of {window.waits_kept:,} in the next window"
    return "none was sent" if window.throttled else ""


def window_table(windows: Sequence[DrawnWindow]) -> Table:
    columns: Columns[DrawnWindow] = [
        (Column("Operation and account", is_name=True), lambda each: _account(each.window)),
        (Column("Seconds"), lambda each: f"{each.from_s} to {each.to_s}"),
        (Column("Admitted", is_number=True), lambda each: _bad_if(each.is_over, f"{each.window.admitted:,}")),
        (Column("Limit", is_number=True), lambda each: f"{each.window.limit:,}"),
        (Column("Of the limit"), lambda each: bar(each.filled / 100, "bad" if each.is_over else "note")),
        (Column("Throttled", is_number=True), _throttled),
        (Column("Told to wait", is_number=True), _told_to_wait),
        (Column("After that wait"), lambda each: _bad_if(each.window.waits_broken, each.waiting)),
    ]
    return table_of("Windows of rate limits", windows, columns, shown=HTML)


def _bad_if(is_bad: object, text: str) -> Words:
    return Toned(text, "bad") if is_bad else text


def _throttled(drawn: DrawnWindow) -> Words:
    return f"{drawn.window.throttled:,}" if drawn.window.throttled else Toned("0", "plain")


def _told_to_wait(drawn: DrawnWindow) -> Words:
    wait_s = drawn.window.longest_wait_s
    return (f"up to {wait_s:,} s" if wait_s else "not said") if drawn.waiting else ""
