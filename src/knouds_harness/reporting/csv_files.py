"""``facts.csv`` of a check, ``operations.csv`` of a load run: one line each, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from knouds_harness.reporting.check.fact_status import fact_rows
from knouds_harness.reporting.load.columns import TIMES, operation_columns, time_columns
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord


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
    columns = operation_columns(for_programs=True)
    time_columns_by_kind = [(kind, column) for kind in TIMES for column in time_columns(for_programs=True)]
    return _written(
        (
            "operation",
            *(column.key for column in columns),
            *(f"{kind}_{column.key}" for kind, column in time_columns_by_kind),
        ),
        (
            (
                each.operation,
                *(column.figure(each) for column in columns),
                *(column.figure(getattr(each, kind)) for kind, column in time_columns_by_kind),
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
