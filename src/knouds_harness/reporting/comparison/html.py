"""``compare.html``: a comparison as one file that needs no network and no script."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from knouds_harness.reporting.comparison.load_comparison import LoadComparison, MeasureRow
from knouds_harness.reporting.comparison.texts import (
    Comparison,
    figure,
    headline,
    interval_words,
    measure_name,
    noise_words,
    percent,
)
from knouds_harness.reporting.comparison.tolerances import ERRORS
from knouds_harness.reporting.load.headline import describe
from knouds_harness.reporting.pages import page, shipped

_WIDTH = 240
_LEAST_SPAN = 0.1
_MOST_SPAN = 0.6


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Where a row's marks stand, in pixels of a drawing that is 240 wide with no change in its middle."""

    low: float
    high: float
    estimate: float
    tolerated_from: float
    tolerated_width: float


def comparison_html(comparison: Comparison) -> str:
    """Lay a comparison out as one HTML file."""
    return page(
        "compare.html.j2",
        is_load=isinstance(comparison, LoadComparison),
        comparison=comparison,
        headline=headline(comparison),
        describe=describe,
        style=shipped("report.css") + shipped("change.css") + shipped("compare.css"),
        **change_values(comparison.rows if isinstance(comparison, LoadComparison) else ()),
    )


def change_values(rows: tuple[MeasureRow, ...]) -> dict[str, Any]:
    """What ``changes.html.j2`` takes to lay out changes of load, by the names that it knows."""
    return {
        "groups": [
            (operation, list(mine)) for operation, mine in groupby(rows, key=lambda row: row.operation)
        ],
        "marks": _marks_for(rows),
        "span": _span(rows),
        "measure_name": measure_name,
        "figure": figure,
        "percent": percent,
        "interval_words": interval_words,
        "noise_words": noise_words,
    }


def _span(rows: tuple[MeasureRow, ...]) -> float:
    """The largest change that the drawings show; what goes beyond is cut at the edge."""
    gates = [row.change for row in rows if row.change and row.is_gate and row.measure != ERRORS]
    reach = [abs(edge) for change in gates for edge in (change.low, change.high)]
    return min(max([_LEAST_SPAN, *reach]) * 1.1, _MOST_SPAN)


def _marks_for(rows: tuple[MeasureRow, ...]) -> dict[tuple[str, str], Marks]:
    span = _span(rows)
    found = {}
    for row in rows:
        if row.change is None or row.measure == ERRORS:
            continue

        def place(change: float) -> float:
            return round(_WIDTH / 2 * (1 + max(-1.0, min(1.0, change / span))), 1)

        found[row.operation, row.measure] = Marks(
            low=place(row.change.low),
            high=place(row.change.high),
            estimate=place(row.change.estimate),
            tolerated_from=place(-row.tolerance),
            tolerated_width=place(row.tolerance) - place(-row.tolerance),
        )
    return found
