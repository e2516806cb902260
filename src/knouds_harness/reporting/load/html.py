"""``report.html`` of a load run: one file that needs no network."""

from __future__ import annotations

from typing import Any

from knouds_harness.reporting.again import command_again
from knouds_harness.reporting.comparison.baseline import RunChange
from knouds_harness.reporting.comparison.html import change_values
from knouds_harness.reporting.comparison.wording import headline as headline_of_change
from knouds_harness.reporting.comparison.wording import telling_gates_of
from knouds_harness.reporting.evidence import evidence_of
from knouds_harness.reporting.load.charts import charts_of
from knouds_harness.reporting.load.headline import describe, load_headline, milliseconds, name, value
from knouds_harness.reporting.load.limits import listed, throttled_spans, tracks_of
from knouds_harness.reporting.pages import embedded, page, script_hashes, shipped
from knouds_harness.runs.load_record import LoadRecord
from knouds_harness.runs.load_results import ALL_OPERATIONS, OUTCOMES, LoadResults, Times
from knouds_harness.runs.record import RunRecord

_MOST_EVIDENCE = 300
_MOST_CHANGES = 16
PERCENTILES = ("50", "90", "99", "99.9", "99.99")


def load_html(record: RunRecord, measured: LoadRecord, change: RunChange | None = None) -> str:
    """Lay a load run out as one HTML file, with what changed against its baseline, if it has one."""
    load = measured.results
    tracks = tracks_of(load)
    windows = listed(tracks)
    charts = charts_of(load, measured.seconds)
    evidence = [evidence_of(each) for each in list(record.exchange_by_id.values())[:_MOST_EVIDENCE]]
    scripts = [shipped(name) for name in ("vendor/uPlot.iife.min.js", "load_heat.js", "load.js", "report.js")]
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
        promises_by_kept=[
            (is_kept, [each for each in load.invariants if (each.state == "kept") is is_kept])
            for is_kept in (False, True)
        ],
        operations=[each.operation for each in sorted(load.operations, key=lambda each: -each.requests)],
        tracks=tracks,
        windows=windows,
        unlisted=sum(len(track.windows) for track in tracks) - len(windows),
        throttled=throttled_spans(measured.seconds),
        change=change,
        **(_change_values(change) if change else {}),
        again=command_again(record),
        evidence=evidence,
        evidence_ids={each.id for each in evidence},
        times_of_all=[ALL_OPERATIONS] if ALL_OPERATIONS in charts["times"] else [],
        percentiles_of_all=[ALL_OPERATIONS] if load.overall else [],
        charts=embedded(charts),
        style=shipped("vendor/uPlot.min.css")
        + shipped("report.css")
        + shipped("change.css")
        + shipped("load.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
    )


def _change_values(change: RunChange) -> dict[str, Any]:
    rows = change.comparison.rows
    return {
        **change_values(rows),
        "change_headline": headline_of_change(change.comparison),
        "gates": telling_gates_of(rows)[:_MOST_CHANGES],
    }


def _distributions(load: LoadResults) -> list[tuple[str, str, Times]]:
    """Operation, kind and distribution, for the table of percentiles."""
    rows = []
    if load.overall and len(load.operations) > 1:
        rows.append((ALL_OPERATIONS, "response" if load.plan.model == "open" else "service", load.overall))
    for each in load.operations:
        if load.plan.model == "open":
            rows.append((each.operation, "response", each.response))
        rows.append((each.operation, "service", each.service))
        if each.refused_response.count:
            rows.append((each.operation, "not kept", each.refused_response))
        if each.server.count:
            rows.append((each.operation, "the server's own ms", each.server))
    return rows
