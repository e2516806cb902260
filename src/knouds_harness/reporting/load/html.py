"""``report.html`` of a load run: one file that needs no network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from knouds_harness.errors import RunRecordError
from knouds_harness.measures.percentiles import time_ms
from knouds_harness.reporting.check.evidence import evidence_of
from knouds_harness.reporting.comparison.baseline import RunChange
from knouds_harness.reporting.comparison.html import change_values
from knouds_harness.reporting.comparison.texts import headline as headline_of_change
from knouds_harness.reporting.comparison.texts import telling_gates_of
from knouds_harness.reporting.load.charts import charts_of
from knouds_harness.reporting.load.columns import (
    milliseconds,
    operation_columns,
    point_times,
    rows_of,
    time_columns,
)
from knouds_harness.reporting.load.headline import describe, load_headline, name, value
from knouds_harness.reporting.load.rate_limits import listed, throttled_spans, tracks_of
from knouds_harness.reporting.pages import embedded, page, script_hashes, shipped
from knouds_harness.reporting.rerun_command import command_again
from knouds_harness.runs.load_record import LoadRecord
from knouds_harness.runs.load_results import ALL_OPERATIONS, LoadResults, Times
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.runs.verdicts import RunOutcome

_MOST_EVIDENCE = 300
_MOST_CHANGES = 16


def live_html(folder: Path, *, version: str) -> str:
    """The report of a load that still goes; in a browser it follows what its server has at ``/version``.

    Args:
        folder: Of the record, as far as it is written.
        version: Of what is shown.

    Raises:
        RunRecordError: It cannot be read.
    """
    record = read_run(folder)
    if record.load is None:
        raise RunRecordError(f"{folder}: has no figures yet")
    running = replace(record, outcome=RunOutcome.RUNNING, exit_code=None, note="")
    return load_html(running, record.load, version=version)


def waiting_html() -> str:
    """The page before there are figures, which follows likewise."""
    scripts = [shipped("live.js")]
    return page(
        "waiting.html.j2",
        style=shipped("report.css"),
        scripts=scripts,
        script_hashes=script_hashes(scripts),
    )


def load_html(
    record: RunRecord, measured: LoadRecord, change: RunChange | None = None, *, version: str = ""
) -> str:
    """Lay a load run out as one HTML file.

    Args:
        record: Of the run.
        measured: Its figures.
        change: What changed against its baseline, if it has one.
        version: Of a page that is served while the run goes; empty for the file that needs nothing else.
    """
    load = measured.results
    tracks = tracks_of(load)
    windows = listed(tracks)
    charts = charts_of(load, measured.seconds)
    evidence = [evidence_of(each) for each in list(record.exchange_by_id.values())[:_MOST_EVIDENCE]]
    scripts = [shipped(name) for name in ("vendor/uPlot.iife.min.js", "load_heat.js", "load.js", "report.js")]
    scripts += [shipped("live.js")] if version else []
    return page(
        "load.html.j2",
        record=record,
        version=version,
        load=load,
        headline=load_headline(record, load),
        describe=describe,
        name=name,
        value=value,
        ms=milliseconds,
        time_ms=time_ms,
        operation_columns=operation_columns(),
        time_columns=time_columns(),
        rows=rows_of(load),
        point_times=point_times,
        ALL_OPERATIONS=ALL_OPERATIONS,
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
        rows.append((ALL_OPERATIONS, "response", load.overall))
    for each in load.operations:
        rows.append((each.operation, "response", each.response))
        if load.plan.model == "open":  # without a schedule they are the response times
            rows.append((each.operation, "service", each.service))
        if each.refused_response.count:
            rows.append((each.operation, "not kept", each.refused_response))
        if each.server.count:
            rows.append((each.operation, "the server's own ms", each.server))
    return rows
