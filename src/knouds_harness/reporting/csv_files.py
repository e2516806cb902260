"""``facts.csv`` of a check, ``operations.csv`` of a load run: one line each, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from knouds_harness.reporting.standing import fact_rows
from knouds_harness.runs.load_results import OUTCOMES, LoadResults
from knouds_harness.runs.record import RunRecord

_PERCENTS = ("50", "90", "95", "99", "99.9", "99.99")


def facts_csv(record: RunRecord) -> str:
    """Each fact, and how it stands."""
    return _written(
        ("fact", "source", "standing", "findings", "says"),
        (
            (
                row.fact.id,
                row.fact.source,
                row.standing,
                sum(len(case.findings) for case in row.cases),
                row.fact.says,
            )
            for row in fact_rows(record)
        ),
    )


def operations_csv(load: LoadResults) -> str:
    """Each operation after the warm-up: requests, outcomes, and times in milliseconds."""
    measures = [f"{measure}_p{percent}_ms" for measure in ("response", "service") for percent in _PERCENTS]
    return _written(
        ("operation", "requests", "per_s", *OUTCOMES, "error_rate", *measures, "response_max_ms"),
        (
            (
                each.operation,
                each.requests,
                each.per_s,
                *(each.outcomes[outcome] for outcome in OUTCOMES),
                each.error_rate,
                *(
                    times.percentiles.get(percent, "") if times.count else ""
                    for times in (each.response, each.service)
                    for percent in _PERCENTS
                ),
                each.response.max_ms,
            )
            for each in load.operations
        ),
    )


def _written(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
