"""Renders runs as OpenMetrics text, for tools that draw it: ``metrics.txt``, and a running load."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from knouds_harness.printable import printable
from knouds_harness.reporting.check.fact_status import fact_rows, status_counts
from knouds_harness.reporting.load.columns import TIMES, LoadColumn, Subject, operation_columns, time_columns
from knouds_harness.runs.load_progress import LoadProgress
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.record import RunRecord

_PREFIX: Final = "knouds_harness"
_MS_PER_S: Final = 1000


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
    of_kind = _of_load(record.load.results) if record.load else _of_check(record)
    return _text([*_of_every_run(record), *of_kind])


def live_openmetrics(progress: LoadProgress | None, load: LoadResults | None) -> str:
    """Render the metrics of a running load."""
    return _text([*(_of_progress(progress) if progress else ()), *(_by_operation(load) if load else ())])


def _text(metrics: Iterable[Metric]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(metrics))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the library says no types
    return text.decode()


def _of_progress(progress: LoadProgress) -> Iterable[Metric]:
    for name, says, figure in _LIVE:
        value = figure(progress)
        if value is not None:
            yield GaugeMetricFamily(f"{_PREFIX}_live_{name}", says, value=value)
    times = GaugeMetricFamily(
        f"{_PREFIX}_live_response_time_seconds",
        "Response times of requests that were ok in the last seconds; quantile 1 is the longest.",
        labels=["quantile"],
    )
    for percent, time_ms in progress.percentiles_ms.items():
        quantile = "1" if percent == "max" else f"{float(percent) / 100:g}"
        times.add_metric([quantile], time_ms / _MS_PER_S)
    yield times
    ended = CounterMetricFamily(
        f"{_PREFIX}_live_requests", "Requests that ended since load began.", labels=["status"]
    )
    for status, count in progress.by_status.items():
        ended.add_metric([status], count)
    yield ended
    yield CounterMetricFamily(
        f"{_PREFIX}_live_dropped_arrivals",
        "Arrivals that found no idle user, after the warm-up.",
        value=progress.dropped,
    )
    errors = GaugeMetricFamily(
        f"{_PREFIX}_live_errors",
        "Requests that were not ok since load began, the most frequent kinds.",
        labels=["status", "status_code", "code"],
    )
    for error in progress.errors:
        errors.add_metric([error.status, str(error.status_code or "none"), error.code], error.count)
    yield errors


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        for metric in self._metrics:
            metric.samples = [  # a label may hold text of a target, or of a damaged file
                sample._replace(labels={name: printable(value) for name, value in sample.labels.items()})
                for sample in metric.samples
            ]
            yield metric


def _of_every_run(record: RunRecord) -> Iterable[Metric]:
    info = InfoMetricFamily(f"{_PREFIX}_run", "The run.")
    info.add_metric(
        (),
        {
            "run": record.folder.resolve().name,
            "kind": record.kind,
            "target": record.setup.target.name,
            "outcome": str(record.outcome),
            "tool_version": record.setup.tool_version,
            "contract_version": record.setup.document.version,
        },
    )
    yield info
    counts = record.counts
    for name, says, value in (
        ("exit_code", "Exit code; 0 is kept.", record.exit_code if record.exit_code is not None else -1),
        ("started_timestamp_seconds", "When the run began.", record.started_at.timestamp()),
        ("duration_seconds", "Duration of the run.", record.duration_s),
        ("cost_credits", "Cost of the run in credits.", counts.cost_credits),
    ):
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", says, value=value)


def _of_check(record: RunRecord) -> Iterable[Metric]:
    yield CounterMetricFamily(f"{_PREFIX}_exchanges", "Requests sent.", value=record.counts.exchanges)
    counts = status_counts(fact_rows(record))
    yield _labelled("facts", "Facts by status.", "status", {str(k): v for k, v in counts.items()})
    verdicts = Counter(str(each.verdict) for each in record.findings)
    yield _labelled("findings", "Findings by verdict.", "verdict", verdicts)


def _by_operation(load: LoadResults) -> Iterable[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for column in operation_columns(for_programs=True):
        _add_column(families, column, "", [(each.operation, each) for each in load.operations])
    for kind in TIMES:
        for times in time_columns(for_programs=True):
            rows = [(each.operation, getattr(each, kind)) for each in load.operations]
            _add_column(families, times, f"{kind}_", rows)
    return [*families.values(), *(_custom(load) if load.custom_metrics else ())]


def _custom(load: LoadResults) -> Iterable[Metric]:
    counts = CounterMetricFamily(
        f"{_PREFIX}_custom", "What tasks counted, and how often they measured a time.", labels=["name"]
    )
    times = GaugeMetricFamily(
        f"{_PREFIX}_custom_time_seconds",
        "Times that tasks measured; quantile 1 is the longest.",
        labels=["name", "quantile"],
    )
    for each in load.custom_metrics:
        counts.add_metric([each.name], each.count)
        for column in time_columns(for_programs=True) if each.times else ():
            if column.label and each.times and (time_ms := column.figure(each.times)) is not None:
                times.add_metric([each.name, column.label[1]], time_ms / _MS_PER_S)
    return counts, times


def _of_load(load: LoadResults) -> Iterable[Metric]:
    yield from _by_operation(load)
    validity = load.validity
    for name, says, value in (
        ("generator_valid", "1 if the generator kept up.", float(validity.is_valid)),
        ("achieved_per_second", "Arrivals sent; in the closed model requests.", validity.achieved_per_s),
        ("dropped_arrivals", "Arrivals that found no idle user.", validity.dropped),
        ("objectives_missed", "Objectives missed.", sum(not each.is_met for each in load.objectives)),
    ):
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", says, value=value)


def _add_column(
    families: dict[str, CounterMetricFamily | GaugeMetricFamily],
    column: LoadColumn[Subject],
    prefix: str,
    rows: Iterable[tuple[str, Subject]],
) -> None:
    """Add the figures of a column, by operation, to its family."""
    if not column.metric:
        return
    name = f"{_PREFIX}_{prefix}{column.metric}"
    label, value = column.label or ("", "")
    if name not in families:
        kind = CounterMetricFamily if column.unit in ("count", "bytes") else GaugeMetricFamily
        families[name] = kind(name, column.says, labels=["operation", label] if label else ["operation"])
    for operation, subject in rows:
        figure = column.figure(subject)
        if figure is not None:
            scale = _MS_PER_S if column.unit == "ms" else 1
            families[name].add_metric([operation, value] if label else [operation], figure / scale)


def _labelled(name: str, says: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}_{name}", says, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
