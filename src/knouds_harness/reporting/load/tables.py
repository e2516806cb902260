"""The tables of a load run, each for every medium that shows it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from knouds_harness.measures.delay import causes, remedy
from knouds_harness.measures.objectives import figure_text, milliseconds, observed_text, short_name
from knouds_harness.reporting.load.columns import (
    PHASES,
    SHOWN_COLUMNS,
    SHOWN_TIMES,
    TRAFFIC_COLUMNS,
    LoadColumn,
    Subject,
    point_times,
    rows_of,
)
from knouds_harness.reporting.load.headline import STATE_LABELS, verdict_on
from knouds_harness.reporting.report import (
    HTML,
    IN_TEXT,
    ON_PAGES,
    Code,
    Column,
    Columns,
    Link,
    Medium,
    Table,
    Tone,
    Toned,
    Words,
    badge,
    bar,
    numbers,
    plain,
    table_of,
)
from knouds_harness.runs.load_results import (
    CapacityPoint,
    Cycles,
    Invariant,
    JudgedObjective,
    LoadResults,
    Validity,
)
from knouds_harness.runs.operation_load import TASK, OperationLoad, RequestStatus, Times, is_total, time_ms

_MOST_ERRORS: Final[dict[Medium, int]] = {"terminal": 5, "markdown": 20}
_MOST_STAGES: Final = 12
_OF_STAGES: Final = ("requests", "per_s", "throughput_per_s", "error_rate")
_LEAST_DOUBT: Final = 0.01
_LEAST_DOUBT_MS: Final = 0.1
_RANK_BY_PHASE: Final = {"first_byte": 0, "body": 1}
_TONE_BY_STATUS: Final = {each.value: each.tone for each in RequestStatus}
_TONE_BY_STATE: Final[dict[str, Tone]] = {
    "broken": "bad",
    "excused": "warn",
    "kept": "good",
    "untested": "plain",
}


def objective_table(load: LoadResults) -> Table:
    """Each objective and its result, the missed ones first."""
    columns: Columns[JudgedObjective] = [
        (Column("Result"), lambda each: badge("met", "good") if each.is_met else badge("missed", "bad")),
        (Column("Operation", is_name=True), lambda each: _name(each.operation)),
        (Column("Measure"), lambda each: short_name(each.measure)),
        (Column("Observed", is_number=True), observed_text),
        (Column("Bound", is_number=True), lambda each: figure_text(each.measure, each.bound)),
        (Column("Against the bound", shown=HTML), _against_the_bound),
        (Column("Promise"), lambda each: Code(each.fact)),
    ]
    missed_first = sorted(load.objectives, key=lambda each: each.is_met)
    return table_of("Objectives", missed_first, columns, shown=ON_PAGES)


def _against_the_bound(objective: JudgedObjective) -> Words:
    observed, bound = objective.observed, objective.bound
    if not (observed and bound):
        return ""
    longest = max(observed, bound)
    return bar(observed / longest, "good" if objective.is_met else "bad", bound / longest)


def describe_delay(validity: Validity) -> str:
    """Say by how much the generator's own delay may have moved figures, and why."""
    moved_ms = max(
        0.0 if each.undelayed_ms is None else each.measured_ms - each.undelayed_ms
        for each in validity.delayed
    )
    named = ", ".join(f"{share:.0%} {cause}" for share, cause, _ in causes(validity))
    why = f": {'; '.join(filter(None, [named, remedy(validity)]))}" if named else ""
    return f"Up to {moved_ms:.3g} ms of a time may be the generator's own delay (±){why}."


def percentile_table(load: LoadResults) -> Table:
    totals = load.totals if load.overall and len(load.operations) > 1 else ()
    rows: list[Sequence[Words]] = []
    for each in (*totals, *load.operations):
        rows.append((each.operation, "response", *(_with_doubt(column, each) for column in SHOWN_TIMES)))
        others = {
            "service": each.service if load.plan.model == "open" else None,  # in the closed model the same
            "not ok": each.refused_response,
            "the server's own ms": each.server,
        }
        if not is_total(each.operation):
            rows += [
                (each.operation, kind, *_cells(SHOWN_TIMES, times, with_unit=False))
                for kind, times in others.items()
                if times and (times.count or kind == "service")
            ]
    columns = (Column("Operation", is_name=True), Column("Time in ms"))
    return _figure_table("Percentiles", columns, SHOWN_TIMES, rows)


def phase_table(load: LoadResults) -> Table:
    blank = ["-"] * (len(SHOWN_TIMES) - 1)
    waited = [
        ("waited", each.operation, f"{each.service.count:,}", milliseconds(waited_ms), *blank)
        for each in load.operations
        if load.plan.model == "open" and (waited_ms := _waited_ms(each)) is not None
    ]
    rows = [
        (phase, each.operation, f"{times.count:,}", *_cells(SHOWN_TIMES, times))
        for kind, phase in PHASES.items()
        for each in load.operations
        if (times := getattr(each, kind)).count
    ]
    columns = (Column("Phase"), Column("Operation", is_name=True), *numbers("Count"))
    return _figure_table("Phases", columns, SHOWN_TIMES, [*waited, *rows])


def _waited_ms(load: OperationLoad) -> float | None:
    """Return how long requests waited on average from when they were due until they were sent."""
    response_ms, service_ms = time_ms(load.response, "mean_ms"), time_ms(load.service, "mean_ms")
    return None if response_ms is None or service_ms is None else max(0.0, response_ms - service_ms)


def traffic_table(load: LoadResults) -> Table:
    return _operations_table("Connections and bytes", load, TRAFFIC_COLUMNS)


def point_table(points: Sequence[CapacityPoint]) -> Table:
    headings = dict.fromkeys(heading for each in points for heading in point_times(each))

    def time_under(heading: str) -> Callable[[CapacityPoint], Words]:
        return lambda each: point_times(each).get(heading, "")

    columns: Columns[CapacityPoint] = [
        (Column("Result"), lambda each: badge(*verdict_on(each))),
        (Column("Asked", is_number=True, is_name=True), lambda each: f"{each.asked_per_s:,.5g}/s"),
        (Column("Sent", is_number=True), lambda each: f"{each.achieved_per_s:,.1f}/s"),
        *((Column(heading, is_number=True), time_under(heading)) for heading in headings),
        (Column("Errors", is_number=True), lambda each: figure_text("error_rate", each.error_rate)),
        (Column("Why"), lambda each: each.reason),
    ]
    return table_of("Rates that were tried", points, columns, shown=ON_PAGES)


def operation_table(load: LoadResults) -> Table:
    return _operations_table("Requests by status", load, SHOWN_COLUMNS)


def _operations_table(label: str, load: LoadResults, columns: Sequence[LoadColumn[OperationLoad]]) -> Table:
    rows = [(each.operation, *_cells(columns, each)) for each in rows_of(load)]
    return _figure_table(label, [Column("Operation", is_name=True)], columns, rows)


def _figure_table(
    label: str, named: Sequence[Column], columns: Sequence[LoadColumn[Any]], rows: Sequence[Sequence[Words]]
) -> Table:
    """A table for the page: names of each row, then its figures; a row of all operations is strong."""
    headings = (Column(each.heading, is_number=True, rank=each.rank) for each in columns)
    totals = [number for number, (name, *_) in enumerate(rows) if is_total(plain(name))]
    return Table(label, (*named, *headings), rows, strong=totals, shown=HTML)


def _cells(
    columns: Iterable[LoadColumn[Subject]], subject: Subject, *, with_unit: bool = True
) -> list[Words]:
    return [_cell(column, subject, with_unit=with_unit) for column in columns]


def stage_table(load: LoadResults) -> Table:
    """What was due in each stage of the plan, all operations together."""
    totals = [each.total for each in load.stages]
    counts = [each for each in _that_matter(totals) if each.key in _OF_STAGES]
    figures = [each for each in SHOWN_TIMES if each.is_in_text]
    rows = [
        (
            each.label,
            f"{each.to_s - each.plan.duration_s:g} to {each.to_s:g}",
            each.plan.levels + ("/s" if load.plan.model == "open" else " users"),
            *_cells(counts, total),
            *_cells(figures, each.overall),
        )
        for each, total in zip(load.stages, totals, strict=True)
    ]
    named = (
        Column("Stage", is_name=True),
        Column("Seconds", is_number=True, rank=3),
        Column("Level", is_number=True, rank=1),
    )
    shown = [(each.heading, each.rank) for each in counts] + [(each.heading, each.rank) for each in figures]
    columns = (Column(heading.lower(), is_number=True, rank=rank) for heading, rank in shown)
    return Table("Stages", (*named, *columns), rows, most={"terminal": _MOST_STAGES})


def custom_table(load: LoadResults) -> Table:
    """Counters and times of the scenario's own; without times it has no columns of times."""
    shown = [each for each in SHOWN_TIMES if each.is_in_text]
    figures = shown if any(each.times for each in load.custom_metrics) else []
    rows = [
        (
            Code(each.name),
            figure_text("count", each.count),
            f"{each.per_s:,.1f}",
            *(_cells(figures, each.times) if each.times else ["-"] * len(figures)),
        )
        for each in load.custom_metrics
    ]
    headings = (Column(each.heading.lower(), is_number=True, rank=each.rank) for each in figures)
    columns = (Column("Custom metric", is_name=True), *numbers("count", "per s"), *headings)
    return Table("Custom metrics", columns, rows)


def operation_text_table(load: LoadResults) -> Table:
    """Statuses that never came, and some percentiles, are left out."""
    rows = rows_of(load)
    counts = _that_matter(rows)
    times = [each for each in SHOWN_TIMES if each.is_in_text]
    cells = [(*_cells(counts, each), *(_with_doubt(column, each) for column in times)) for each in rows]
    return _text_table(load, "Times in ms", [*counts, *times], cells)


def _that_matter(rows: Sequence[OperationLoad]) -> list[LoadColumn[OperationLoad]]:
    return [each for each in SHOWN_COLUMNS if any(map(each.matters, rows))]


def _with_doubt(column: LoadColumn[Times], load: OperationLoad) -> Words:
    """Add to a response time by how much the generator's own delay may have raised it, if that is shown."""
    figure_ms, doubt_ms = column.figure(load.response), load.doubts_ms.get(column.key, 0.0)
    text = column.text(load.response, with_unit=False)
    if figure_ms is None or doubt_ms < max(_LEAST_DOUBT * figure_ms, _LEAST_DOUBT_MS):
        return text if figure_ms else Toned(text, "plain")
    return f"{text} ±{milliseconds(doubt_ms).removesuffix(' ms')}"


def phase_text_table(load: LoadResults) -> Table:
    """The medians of phases, bytes and connections."""
    (median,) = (column for column in SHOWN_TIMES if column.key == "p50_ms")
    phases = {
        kind: replace(median, heading=phase, rank=_RANK_BY_PHASE.get(kind, 7))
        for kind, phase in PHASES.items()
        if any(getattr(row, kind).count for row in rows_of(load))
    }
    cells = [
        (
            *(column.text(getattr(row, kind), with_unit=False) for kind, column in phases.items()),
            *_cells(TRAFFIC_COLUMNS, row),
        )
        for row in rows_of(load)
    ]
    return _text_table(load, "Medians in ms", [*phases.values(), *TRAFFIC_COLUMNS], cells)


def _text_table(
    load: LoadResults, heading: str, columns: Sequence[LoadColumn[Any]], cells: Sequence[Sequence[Words]]
) -> Table:
    rows = [(_name(each.operation), *figures) for each, figures in zip(rows_of(load), cells, strict=True)]
    return replace(_figure_table(heading, [Column(heading, is_name=True)], columns, rows), shown=IN_TEXT)


def _name(operation: str) -> Words:
    return operation if is_total(operation) else Code(operation)


def error_table(load: LoadResults, evidence_ids: Collection[str]) -> Table:
    """Exceptions of tasks, then what was not ok, the most frequent first.

    Each answer has an exchange, linked if the page shows it.
    """
    found = [(each.operation, error) for each in load.operations for error in each.errors]
    raised = [(f"{TASK}{each.task}", "failed", None, each.error, each.count, "") for each in load.task_errors]
    refused = [
        (operation, each.status, each.status_code, each.code, each.count, next(iter(each.exchanges), ""))
        for operation, each in sorted(found, key=lambda each: -each[1].count)
    ]
    return Table(
        "Answers that did not succeed",
        (
            Column("Not ok", is_name=True),
            Column("Status"),
            Column("Status code"),
            Column("Code"),
            Column("Count", is_number=True),
            Column("Such as"),
        ),
        [
            (
                Code(operation),
                badge(status, _TONE_BY_STATUS.get(status, "plain")),
                str(number or "none"),
                Code(code),
                f"{count:,}",
                Link(example, f"#{example}") if example in evidence_ids else example,
            )
            for operation, status, number, code, count, example in [*raised, *refused]
        ],
        most=_MOST_ERRORS,
    )


def cycle_table(cycles: Cycles) -> Table:
    kinds = {
        "until accepted": cycles.to_accept,
        "until final": cycles.to_final,
        "lost to polling, at most": cycles.lost_to_polling,
    }
    rows = [
        (kind, f"{times.count:,}", *_cells(SHOWN_TIMES, times))
        for kind, times in kinds.items()
        if times.count
    ]
    columns = (Column("Time", is_name=True), *numbers("Count"))
    return _figure_table("Times of cycles", columns, SHOWN_TIMES, rows)


def poll_table(polls: Mapping[int, int]) -> Table:
    total = sum(polls.values())
    return Table(
        "Polls in a cycle",
        (Column("Polls", is_number=True, is_name=True), Column("Cycles", is_number=True), Column("Share")),
        [(str(number), f"{count:,}", bar(count / total, "note")) for number, count in sorted(polls.items())],
        shown=HTML,
    )


def promise_table(promises: Sequence[Invariant], label: str) -> Table:
    columns: Columns[Invariant] = [
        (Column("Result"), lambda each: badge(STATE_LABELS[each.state], _TONE_BY_STATE[each.state])),
        (Column("Promise", is_name=True), lambda each: each.says),
        (Column("Fact"), lambda each: Code(each.fact)),
        (Column("Seen", is_number=True), lambda each: f"{each.seen:,}"),
        (Column("Broken", is_number=True), lambda each: f"{each.broken:,}"),
        (Column("Such as"), lambda each: each.example or (f"needs {each.missing}" if each.missing else "")),
    ]
    return table_of(label, promises, columns)


def _cell(column: LoadColumn[Subject], subject: Subject, *, with_unit: bool) -> Words:
    text = column.text(subject, with_unit=with_unit)
    if not column.figure(subject):
        return Toned(text, "plain")
    return Toned(text, "bad") if column.is_bad else text
