"""The tables of a load run, each for every medium that shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from knouds_harness.measures.delay import causes, remedy
from knouds_harness.measures.objectives import figure_text, milliseconds, observed_text, short_name
from knouds_harness.reporting.load.columns import (
    ERROR_HEADINGS,
    PHASES,
    TRAFFIC_COLUMNS,
    LoadColumn,
    Subject,
    TextColumn,
    error_rows,
    operation_columns,
    phase_columns,
    point_times,
    rows_of,
    text_columns,
    time_columns,
    waited_ms,
)
from knouds_harness.reporting.load.headline import STATE_LABELS
from knouds_harness.reporting.report import (
    HTML,
    MARKDOWN,
    ON_PAGES,
    TERMINAL,
    Code,
    Column,
    Figure,
    Link,
    Medium,
    Table,
    Text,
    Tone,
    Toned,
    Words,
    badge,
    numbers,
)
from knouds_harness.runs.load_results import (
    CapacityPoint,
    Cycles,
    DelayedFigure,
    Invariant,
    LoadResults,
    Validity,
)
from knouds_harness.runs.operation_load import OperationLoad, RequestStatus, Times, is_total

_MOST_ERRORS: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}
_MOST_STAGES: Final = 12
_TONE_BY_STATUS: Final = {each.value: each.tone for each in RequestStatus}
_TONE_BY_STATE: Final[dict[str, Tone]] = {
    "broken": "bad",
    "excused": "warn",
    "kept": "good",
    "untested": "plain",
}


def objective_table(load: LoadResults) -> Table:
    """Each objective and its result, the missed ones first."""
    rows = []
    for each in sorted(load.objectives, key=lambda each: each.is_met):
        observed, longest = each.observed or 0.0, max(each.observed or 0.0, each.bound)
        is_drawn = observed and each.bound
        rows.append(
            (
                badge("met", "good") if each.is_met else badge("missed", "bad"),
                each.operation if is_total(each.operation) else Code(each.operation),
                short_name(each.measure),
                observed_text(each),
                figure_text(each.measure, each.bound),
                bar(observed / longest, "good" if each.is_met else "bad", each.bound / longest)
                if is_drawn
                else "",
                Code(each.fact),
            )
        )
    return Table(
        "Objectives",
        (
            Column("Result"),
            Column("Operation", is_name=True),
            Column("Measure"),
            *numbers("Observed", "Bound"),
            Column("Against the bound", shown=HTML),
            Column("Promise"),
        ),
        rows,
        shown=ON_PAGES,
    )


def delayed_figures(load: LoadResults) -> list[Text | Table]:
    """The figures that the generator itself has moved, if there are any."""
    validity = load.validity
    if not validity.delayed:
        return []
    worst: dict[str, DelayedFigure] = {}  # of each operation; load.json has all
    for each in validity.delayed:
        worst[each.operation] = max(worst.get(each.operation, each), each, key=_moved_by_ms)
    rows = [
        (
            each.operation,
            short_name(each.measure),
            milliseconds(each.measured_ms),
            milliseconds(each.undelayed_ms),
        )
        for each in worst.values()
    ]
    columns = (
        Column("Operation", is_name=True),
        Column("Figure"),
        *numbers("Measured", "Without it, at least"),
    )
    return [
        Text(
            f"Up to {max(map(_moved_by_ms, validity.delayed)):.3g} ms of a time may be the generator's own "
            f"delay (±){_causes(validity)}."
        ),
        Table("What the generator delayed most, by operation", columns, rows, shown=HTML),
    ]


def _causes(validity: Validity) -> str:
    named = [f"{share:.0%} {cause}" for share, cause, _ in causes(validity)]
    return f": {', '.join(named)}; {remedy(validity)}" if named else ""


def _moved_by_ms(figure: DelayedFigure) -> float:
    return 0.0 if figure.undelayed_ms is None else figure.measured_ms - figure.undelayed_ms


def percentile_table(load: LoadResults) -> Table:
    rows: list[tuple[str, str, Times]] = []
    if load.overall and len(load.operations) > 1:
        rows += [(each.operation, "response", each.response) for each in load.totals]
    for each in load.operations:
        rows.append((each.operation, "response", each.response))
        if load.plan.model == "open":  # in the closed model they are the response times
            rows.append((each.operation, "service", each.service))
        if each.refused_response.count:
            rows.append((each.operation, "not ok", each.refused_response))
        if each.server.count:
            rows.append((each.operation, "the server's own ms", each.server))
    columns = (Column("Operation", is_name=True), Column("Time"))
    cells = [(*names, *_cells(time_columns(), times)) for *names, times in rows]
    operations = [operation for operation, *_ in rows]
    return _figure_table("Percentiles", columns, time_columns(), cells, operations=operations)


def phase_table(load: LoadResults) -> Table:
    blank = ["-"] * (len(time_columns()) - 1)
    waited = [
        ("waited", each.operation, f"{each.service.count:,}", milliseconds(waited_ms(each)), *blank)
        for each in load.operations
        if load.plan.model == "open" and waited_ms(each) is not None
    ]
    rows = [
        (phase, each.operation, f"{times.count:,}", *_cells(time_columns(), times))
        for kind, phase in PHASES.items()
        for each in load.operations
        if (times := getattr(each, kind)).count
    ]
    columns = (Column("Phase"), Column("Operation", is_name=True), *numbers("Count"))
    return _figure_table("Phases", columns, time_columns(), [*waited, *rows])


def traffic_table(load: LoadResults) -> Table:
    return _operations_table("Connections and bytes", load, TRAFFIC_COLUMNS)


def point_table(points: Sequence[CapacityPoint]) -> Table:
    headings = dict.fromkeys(heading for each in points for heading in point_times(each))
    return Table(
        "Rates that were tried",
        (
            Column("Result"),
            Column("Asked", is_number=True, is_name=True),
            Column("Sent", is_number=True),
            *numbers(*headings),
            Column("Errors", is_number=True),
            Column("Why"),
        ),
        [_point_cells(each, list(headings)) for each in points],
        shown=ON_PAGES,
    )


def _point_cells(point: CapacityPoint, headings: Sequence[str]) -> Sequence[Words]:
    times = point_times(point)
    verdict = (
        badge("kept", "good")
        if point.is_kept
        else badge("generator", "warn")
        if point.is_generator_limit
        else badge("missed", "bad")
    )
    return (
        verdict,
        f"{point.asked_per_s:,.5g}/s",
        f"{point.achieved_per_s:,.1f}/s",
        *(times.get(heading, "") for heading in headings),
        figure_text("error_rate", point.error_rate),
        point.reason,
    )


def operation_table(load: LoadResults) -> Table:
    return _operations_table("Requests by status", load, operation_columns())


def _operations_table(label: str, load: LoadResults, columns: Sequence[LoadColumn[OperationLoad]]) -> Table:
    rows = [(each.operation, *_cells(columns, each)) for each in rows_of(load)]
    names = [each.operation for each in rows_of(load)]
    return _figure_table(label, [Column("Operation", is_name=True)], columns, rows, operations=names)


def _figure_table(
    label: str,
    named: Sequence[Column],
    columns: Sequence[LoadColumn[Any]],
    rows: Sequence[Sequence[Words]],
    *,
    operations: Iterable[str] = (),
) -> Table:
    """A table for the page: names of each row, then its figures; the row of all operations is strong."""
    headings = (Column(each.heading, is_number=True, rank=each.rank) for each in columns)
    return Table(label, (*named, *headings), rows, strong=_totals(operations), shown=HTML)


def _cells(columns: Iterable[LoadColumn[Subject]], subject: Subject) -> list[Words]:
    return [_cell(column, subject) for column in columns]


def stage_table(load: LoadResults) -> Table:
    """What was due in each stage of the plan, all operations together."""
    counts = [each for each in operation_columns() if each.key in ("requests", "per_s", "error_rate")]
    figures = [each for each in time_columns() if each.is_in_text]
    rows = [
        (
            f"stage {each.number}",
            f"{each.to_s - each.plan.duration_s:g} to {each.to_s:g}",
            each.plan.level + ("/s" if load.plan.model == "open" else " users"),
            *_cells(counts, each.total),
            *_cells(figures, each.overall),
        )
        for each in load.stages
    ]
    named = (
        Column("Stage", is_name=True),
        Column("Seconds", is_number=True, rank=3),
        Column("Level", is_number=True, rank=1),
    )
    shown = [(each.heading, each.rank) for each in counts] + [(each.heading, each.rank) for each in figures]
    columns = (Column(heading.lower(), is_number=True, rank=rank) for heading, rank in shown)
    return Table("Stages", (*named, *columns), rows, most={"terminal": _MOST_STAGES})


def operation_text_tables(load: LoadResults) -> list[Table]:
    return [
        _text_table(load, "Operations", "Operation", text_columns(load, with_units=True), shown=MARKDOWN),
        _text_table(load, "Operations", "Times in ms", text_columns(load, with_units=False), shown=TERMINAL),
    ]


def phase_text_tables(load: LoadResults) -> list[Table]:
    return [
        _text_table(
            load, "Phases, medians", "Operation", phase_columns(load, with_units=True), shown=MARKDOWN
        ),
        _text_table(load, "Phases", "Medians in ms", phase_columns(load, with_units=False), shown=TERMINAL),
    ]


def _text_table(
    load: LoadResults, label: str, heading: str, columns: Sequence[TextColumn], *, shown: frozenset[Medium]
) -> Table:
    return Table(
        label,
        (
            Column(heading, is_name=True),
            *(Column(column.heading, is_number=True, rank=column.rank) for column in columns),
        ),
        [
            (
                each.operation if is_total(each.operation) else Code(each.operation),
                *(column.cells[number] for column in columns),
            )
            for number, each in enumerate(rows_of(load))
        ],
        strong=_totals(each.operation for each in rows_of(load)),
        shown=shown,
    )


def error_table(load: LoadResults, evidence_ids: Collection[str]) -> Table:
    """What was not ok, by status and code, each with an exchange, linked if the page shows it."""
    return Table(
        "Answers that did not succeed",
        [
            Column("Not ok", is_name=True),
            *(Column(heading.capitalize(), is_number=heading == "count") for heading in ERROR_HEADINGS[1:]),
        ],
        [
            (
                Code(operation),
                badge(status, _TONE_BY_STATUS.get(status, "plain")),
                number,
                Code(code),
                count,
                Link(example, f"#{example}") if example in evidence_ids else example,
            )
            for operation, status, number, code, count, example in error_rows(load)
        ],
        most=_MOST_ERRORS,
    )


def cycle_table(cycles: Cycles) -> Table:
    kinds = {
        "until accepted": cycles.to_accept,
        "until final": cycles.to_final,
        "lost to polling": cycles.lost_to_polling,
        "until its delivery came": cycles.webhook_delay,
    }
    rows = [
        (kind, f"{times.count:,}", *_cells(time_columns(), times))
        for kind, times in kinds.items()
        if times.count
    ]
    columns = (Column("Time", is_name=True), *numbers("Count"))
    return _figure_table("Times of cycles", columns, time_columns(), rows)


def poll_table(polls: Mapping[int, int]) -> Table:
    total = sum(polls.values())
    return Table(
        "Polls in a cycle",
        (Column("Polls", is_number=True, is_name=True), Column("Cycles", is_number=True), Column("Share")),
        [(str(number), f"{count:,}", bar(count / total, "note")) for number, count in sorted(polls.items())],
        shown=HTML,
    )


def promise_table(promises: Sequence[Invariant], label: str) -> Table:
    return Table(
        label,
        (
            Column("Result"),
            Column("Promise", is_name=True),
            Column("Fact"),
            *numbers("Seen", "Broken"),
            Column("Such as"),
        ),
        [
            (
                badge(STATE_LABELS[each.state], _TONE_BY_STATE[each.state]),
                each.says,
                Code(each.fact),
                f"{each.seen:,}",
                f"{each.broken:,}",
                each.example or (f"needs {each.missing}" if each.missing else ""),
            )
            for each in promises
        ],
    )


def _totals(operations: Iterable[str]) -> list[int]:
    return [number for number, operation in enumerate(operations) if is_total(operation)]


def _cell(column: LoadColumn[Subject], subject: Subject) -> Words:
    figure = column.figure(subject)
    if not figure:
        return Toned(column.text(subject), "plain")
    return Toned(column.text(subject), "bad") if column.is_bad else column.text(subject)


def bar(share: float, tone: Tone, bound: float | None = None) -> Figure:
    """Draw a share as a bar, with a mark at a bound."""
    values = {"share": min(max(share, 0.0), 1.0), "tone": tone, "bound": bound}
    return Figure("bar.html.j2", values=lambda: values, shown=HTML)
