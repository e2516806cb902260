"""``report.html`` of a load run: one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from knouds_harness.reporting.load.headline import describe, load_headline, milliseconds, name, value
from knouds_harness.reporting.pages import page, script_hashes, shipped
from knouds_harness.runs.load_record import LoadRecord
from knouds_harness.runs.load_results import OUTCOMES, LoadResults, SecondRow, Times
from knouds_harness.runs.record import RunRecord

PERCENTILES = ("50", "90", "99", "99.9", "99.99")


def load_html(record: RunRecord, measured: LoadRecord) -> str:
    """Lay a load run out as one HTML file."""
    load = measured.results
    scripts = [shipped("vendor/uPlot.iife.min.js"), shipped("load.js")]
    return page(
        "load.html.j2",
        record=record,
        load=load,
        headline=load_headline(record, load),
        describe=describe,
        name=name,
        value=value,
        ms=milliseconds,
        percentiles=PERCENTILES,
        OUTCOMES=OUTCOMES,
        distributions=_distributions(load),
        charts=_embedded(_charts(load, measured.seconds)),
        style=shipped("vendor/uPlot.min.css") + shipped("report.css") + shipped("load.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
    )


def _embedded(data: object) -> Markup:
    """JSON that stands in a script element, which nothing in it can end."""
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - escaped above


def _distributions(load: LoadResults) -> list[tuple[str, str, Times]]:
    """Operation, kind and distribution, for the table of percentiles."""
    rows = []
    for each in load.operations:
        if load.plan.model == "open":
            rows.append((each.operation, "response", each.response))
        rows.append((each.operation, "service", each.service))
        if each.refused_response.count:
            rows.append((each.operation, "not kept", each.refused_response))
        if each.server.count:
            rows.append((each.operation, "the server's own ms", each.server))
    return rows


def _charts(load: LoadResults, seconds: Sequence[SecondRow]) -> Mapping[str, Any]:
    """What the script draws: time in seconds, then a column for each line."""
    last = max((second.at_s for second in seconds), default=-1)
    operations = sorted({second.operation for second in seconds})
    return {
        "warmUp": load.plan.warm_up_s,
        "seconds": list(range(last + 1)),
        "asked": [_level(load, at_s + 0.5) for at_s in range(last + 1)]
        if load.plan.model == "open"
        else None,
        "outcomes": {outcome: _per_second(seconds, last, outcome) for outcome in OUTCOMES},
        "times": {
            operation: {
                measure: _measure_per_second(seconds, last, operation, measure)
                for measure in ("p50_ms", "p99_ms", "max_ms")
            }
            for operation in operations
        },
        "capacity": [
            [point.achieved_per_s, point.p50_ms, point.p99_ms, point.is_kept]
            for point in (load.capacity.points if load.capacity else ())
        ],
    }


def _level(load: LoadResults, at_s: float) -> float | None:
    begins_s = 0.0
    for stage in load.plan.stages:
        if at_s < begins_s + stage.duration_s:
            part = (at_s - begins_s) / stage.duration_s
            return stage.start + (stage.end - stage.start) * part
        begins_s += stage.duration_s
    return None


def _per_second(seconds: Sequence[SecondRow], last: int, outcome: str) -> list[int]:
    counts = [0] * (last + 1)
    for second in seconds:
        counts[second.at_s] += second.outcomes.get(outcome, 0)
    return counts


def _measure_per_second(
    seconds: Sequence[SecondRow], last: int, operation: str, measure: str
) -> list[float | None]:
    figures: list[float | None] = [None] * (last + 1)
    for second in seconds:
        if second.operation == operation:
            figures[second.at_s] = getattr(second, measure)
    return figures
