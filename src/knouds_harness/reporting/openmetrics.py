"""Renders runs as OpenMetrics text, for tools that draw it: ``metrics.txt``, and a running load."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest

from knouds_harness.printable import printable
from knouds_harness.reporting.check.fact_status import fact_rows, status_counts
from knouds_harness.reporting.load.columns import OPERATION_COLUMNS, TIME_COLUMNS, TIMES, LoadColumn
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.operation_load import OperationLoad
from knouds_harness.runs.record import RunRecord

_PREFIX: Final = "knouds_harness"
_MS_PER_S: Final = 1000
Values = Mapping[Any, float]
"""Figures, each by a tuple of the values of its labels."""


_LIVE: Final[tuple[tuple[str, str, Callable[[LoadProgress], float | None]], ...]] = (
    ("elapsed_seconds", "Seconds since load began.", lambda now: max(0.0, now.at_s)),
    ("requests_per_second", "Requests that ended, over the last seconds.", lambda now: now.recent_per_s),
    ("asked_per_second", "Arrivals that the plan asks for now.", lambda now: now.asked_per_s),
    ("in_flight", "Tasks under way.", lambda now: now.in_flight),
    ("users", "Users; in the open model the most in flight.", lambda now: now.users),
    ("spent_credits", "Credits that were charged, or may have been.", lambda now: now.spent_credits),
    ("allowed_credits", "The most credits that may be spent.", lambda now: now.most_credits),
    ("generator_cpu_ratio", "Share of one core used by the busiest process.", lambda now: now.cpu_share),
    (
        "lateness_seconds",
        "Lateness of recent arrivals against their schedule, 99th percentile.",
        lambda now: None if now.lateness_p99_ms is None else now.lateness_p99_ms / _MS_PER_S,
    ),
    (
        "loop_lag_seconds",
        "Recent lag of the generator's event loop, 99th percentile.",
        lambda now: now.loop_lag_p99_ms / _MS_PER_S,
    ),
    (
        "generator_valid",
        "0 while less is sent than was asked for.",
        lambda now: float(not (now.limits or now.doubts)),
    ),
)
"""Gauges of a running load: name, help text, and a function for the value, None if there is none."""


def openmetrics(record: RunRecord) -> str:
    """Render a run as OpenMetrics text; times are in seconds, as that format requires."""
    of_kind = _of_load(record.load) if record.load else _of_check(record)
    return _text([*_of_every_run(record), *of_kind])


def live_openmetrics(progress: LoadProgress | None, load: LoadResults | None) -> str:
    return _text([*(_of_progress(progress) if progress else ()), *(_by_operation(load) if load else ())])


def _text(metrics: Iterable[Metric]) -> str:
    registry = SimpleNamespace(collect=lambda: metrics)
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the library says no types
    return text.decode()


def _of_progress(progress: LoadProgress) -> Iterable[Metric]:
    for name, says, figure in _LIVE:
        value = figure(progress)
        if value is not None:
            yield _gauge(f"live_{name}", says, {(): value})
    yield _gauge(
        "live_response_time_seconds",
        "Response times of requests that were ok in the last seconds; quantile 1 is the longest.",
        {
            ("1" if percent == "max" else f"{float(percent) / 100:g}",): time_ms / _MS_PER_S
            for percent, time_ms in progress.percentiles_ms.items()
        },
        "quantile",
    )
    ended = {(status,): count for status, count in progress.by_status.items()}
    yield _counter("live_requests", "Requests that ended since load began.", ended, "status")
    dropped = {(): progress.dropped}
    yield _counter("live_dropped_arrivals", "Arrivals that found no idle user, after the warm-up.", dropped)
    yield _gauge(
        "live_errors",
        "Requests that were not ok since load began, the most frequent kinds.",
        {(each.status, str(each.status_code or "none"), each.code): each.count for each in progress.errors},
        *("status", "status_code", "code"),
    )


def _family(
    kind: type[CounterMetricFamily | GaugeMetricFamily], name: str, says: str, values: Values, *labels: str
) -> Metric:
    family = kind(f"{_PREFIX}_{name}", says, labels=labels)
    for of_labels, value in values.items():
        family.add_metric([*map(printable, of_labels)], value)  # text of a target, or of a damaged file
    return family


_gauge, _counter = partial(_family, GaugeMetricFamily), partial(_family, CounterMetricFamily)


def _of_every_run(record: RunRecord) -> Iterable[Metric]:
    about = {
        "run": record.folder.resolve().name,
        "kind": record.kind,
        "target": record.setup.target.name,
        "outcome": str(record.outcome),
        "tool_version": record.setup.tool_version,
        "contract_version": record.setup.document.version,
    }
    said = {name: printable(value) for name, value in about.items()}
    yield InfoMetricFamily(f"{_PREFIX}_run", "The run.", value=said)
    counts = record.counts
    for name, says, value in (
        ("exit_code", "Exit code; 0 is kept.", record.exit_code if record.exit_code is not None else -1),
        ("started_timestamp_seconds", "When the run began.", record.started_at.timestamp()),
        ("duration_seconds", "Duration of the run.", record.duration_s),
        ("cost_credits", "Cost of the run in credits.", counts.cost_credits),
    ):
        yield _gauge(name, says, {(): value})


def _of_check(record: RunRecord) -> Iterable[Metric]:
    yield _counter("exchanges", "Requests sent.", {(): record.counts.exchanges})
    facts = {(str(status),): count for status, count in status_counts(fact_rows(record)).items()}
    yield _gauge("facts", "Facts by status.", facts, "status")
    verdicts = Counter((str(each.verdict),) for each in record.findings)
    yield _gauge("findings", "Findings by verdict.", verdicts, "verdict")


def _by_operation(load: LoadResults) -> Iterable[Metric]:
    """Make one family of all columns with its name, each with the value of its label."""
    columns: list[tuple[str, LoadColumn[Any], Callable[[OperationLoad], Any]]] = [
        ("", column, lambda each: each) for column in OPERATION_COLUMNS
    ]
    columns += [(f"{kind}_", column, attrgetter(kind)) for kind in TIMES for column in TIME_COLUMNS]
    families: dict[str, tuple[LoadColumn[Any], dict[tuple[str, ...], float]]] = {}
    for prefix, column, part in columns:
        if not column.metric:
            continue
        _, values = families.setdefault(f"{prefix}{column.metric}", (column, {}))
        scale, of_label = _MS_PER_S if column.unit == "ms" else 1, (column.label or ())[1:]
        for each in load.operations:
            if (figure := column.figure(part(each))) is not None:
                values[each.operation, *of_label] = figure / scale
    for name, (column, values) in families.items():
        make = _counter if column.unit in ("count", "bytes") else _gauge
        yield make(name, column.says, values, "operation", *(column.label or ())[:1])
    if load.custom_metrics:
        yield from _custom(load)


def _custom(load: LoadResults) -> Iterable[Metric]:
    counts = {(each.name,): each.count for each in load.custom_metrics}
    yield _counter("custom", "What tasks counted, and how often they measured a time.", counts, "name")
    yield _gauge(
        "custom_time_seconds",
        "Times that tasks measured; quantile 1 is the longest.",
        {
            (each.name, column.label[1]): time_ms / _MS_PER_S
            for each in load.custom_metrics
            for column in TIME_COLUMNS
            if column.label and each.times and (time_ms := column.figure(each.times)) is not None
        },
        *("name", "quantile"),
    )


def _of_load(load: LoadResults) -> Iterable[Metric]:
    yield from _by_operation(load)
    validity = load.validity
    for name, says, value in (
        ("generator_valid", "1 if the generator kept up.", float(validity.is_valid)),
        ("achieved_per_second", "Arrivals sent; in the closed model requests.", validity.achieved_per_s),
        ("dropped_arrivals", "Arrivals that found no idle user.", validity.dropped),
        ("objectives_missed", "Objectives missed.", sum(not each.is_met for each in load.objectives)),
    ):
        yield _gauge(name, says, {(): value})
