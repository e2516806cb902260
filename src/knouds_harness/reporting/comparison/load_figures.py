"""The figures of a load run for a comparison, each with its standard error; small enough to be stored.

Requests of one second share a garbage collection, a busy neighbour, a queue: they are not independent
samples. So a run is cut into a few blocks of whole seconds, whose differences show how sure a figure is.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from knouds_harness.errors import RunRecordError
from knouds_harness.measures.hdr_logs import Interval, read_hdr_log
from knouds_harness.measures.histograms import Histogram, bucket_of, merged
from knouds_harness.reporting.comparison.change import UNBOUNDED, RunFigure
from knouds_harness.runs.load_plan import Fingerprint, LoadPlan
from knouds_harness.runs.load_results import Doubt, LoadResults
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    ERRORS,
    PERCENTILES,
    PERCENTS,
    TIME,
    CustomMetric,
    OperationLoad,
    RequestStatus,
    Times,
    percentile_measure,
    status_named,
    time_ms,
)
from knouds_harness.runs.record import RunRecord

RATE, THROUGHPUT, ERROR_RATE, THROTTLED = "requests_per_s", "throughput_per_s", "error_rate", "throttled_rate"
RATES: Final = (RATE, THROUGHPUT)
SHARES: Final = (ERROR_RATE, THROTTLED)
SERVICE_TIMES: Final = tuple(f"service_{measure}" for measure in PERCENTILES)
MEASURES: Final = (*RATES, *SHARES, *PERCENTILES, *SERVICE_TIMES)
TIMES_FILE: Final = "times.hlog"
MOST_BLOCKS: Final = 20
LEAST_BEYOND: Final = 5
"""A percentile with fewer requests above it says little of the next run's."""
ALL: Final = "all"
_COUNTED: Final[Mapping[str, Sequence[str]]] = {
    ERROR_RATE: ERRORS,
    THROTTLED: (RequestStatus.THROTTLED.value,),
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some seconds of one operation; times are those of requests that succeeded."""

    requests: int
    counts: Mapping[str, int]
    response: Histogram
    service: Histogram


def read_blocks(folder: Path, requests: int) -> Mapping[str, Sequence[Block]]:
    """Return the blocks of each operation, and of ``all`` together; none if the file of times is missing."""
    path = folder / TIMES_FILE
    if not path.is_file():
        return {}
    intervals = list(read_hdr_log(path))
    seconds = _measured_seconds(intervals, requests)
    if not seconds:
        return {}
    length = math.ceil(len(seconds) / MOST_BLOCKS)
    block_of = {second: index // length for index, second in enumerate(seconds)}
    parts: dict[str, dict[int, list[Interval]]] = defaultdict(lambda: defaultdict(list))
    for each in intervals:
        if each.start_unix_s in block_of:
            for name in (each.series[0], *(() if each.series[2] == TIME else (ALL,))):
                parts[name][block_of[each.start_unix_s]].append(each)
    blocks = {
        name: [_block(by_block[index]) for index in sorted(by_block)]
        for name, by_block in sorted(parts.items())
    }
    return {name: found for name, found in blocks.items() if any(each.requests for each in found)}


def percentile_error(histograms: Sequence[Histogram], percent: float) -> float | None:
    """Return the standard error of the logarithm of a percentile, from the differences between blocks.

    Woodruff's method: the error of the share of requests below the percentile, between blocks, is translated
    to the times at the edges of that share.
    """
    whole = merged(histograms)
    total, share = len(whole), percent / 100
    if total * (1 - share) < LEAST_BEYOND:
        return None
    bound = bucket_of(int(whole.percentile_s(percent) * 1e9))
    deviations = []
    for each in histograms:
        within = sum(count for bucket, count in each.counts.items() if bucket <= bound)
        deviations.append(within - share * len(each))
    error = max(_sum_error(deviations), math.sqrt(total * share * (1 - share))) / total
    low_s, high_s = whole.percentiles_s(max(0.0, share - error) * 100, min(1.0, share + error) * 100)
    return math.log(high_s / low_s) / 2 if low_s > 0 else None


def share_error(errors: Sequence[int], requests: Sequence[int]) -> float:
    """Return the standard error of a share of requests; never 0, even if none of them was an error."""
    total = sum(requests)
    share = sum(errors) / total
    least = (sum(errors) + 1) / (total + 2)
    between = _sum_error([wrong - share * each for wrong, each in zip(errors, requests, strict=True)])
    return max(between, math.sqrt(total * least * (1 - least))) / total


def _sum_error(deviations: Sequence[float]) -> float:
    """Return the standard error of a sum over blocks, from how far each is from its share."""
    count = len(deviations)
    if count < 2:
        return 0.0
    mean = sum(deviations) / count
    return math.sqrt(count / (count - 1) * sum((each - mean) ** 2 for each in deviations))


def _measured_seconds(intervals: Iterable[Interval], requests: int) -> list[float]:
    """Return the last seconds that together hold so many requests."""
    counts: dict[float, int] = defaultdict(int)
    for each in intervals:
        if each.series[2:] == ("response",):
            counts[each.start_unix_s] += len(each.histogram)
    found: list[float] = []
    for second in sorted(counts, reverse=True):
        if requests <= 0:
            break
        requests -= counts[second]
        found.append(second)
    return found[::-1]


def _block(intervals: Sequence[Interval]) -> Block:
    response = [each for each in intervals if each.series[2] in {"response", TIME}]
    by_status = Counter[str]()
    for each in response:
        by_status[each.series[1]] += len(each.histogram)
    is_ok = [each for each in intervals if status_named(each.series[1]) == RequestStatus.OK]
    ok = merged(each.histogram for each in is_ok if each.series[2] in {"response", TIME})
    service = merged(each.histogram for each in is_ok if each.series[2] == "service")
    return Block(
        requests=sum(len(each.histogram) for each in response),
        counts={name: sum(by_status[status] for status in counted) for name, counted in _COUNTED.items()},
        response=ok,
        service=service if service.counts else ok,
    )


@dataclass(frozen=True, kw_only=True)
class LoadFigures:
    """One load run.

    Attributes:
        doubts: What its figures lack, in sentences: the rate, if less was sent than was asked for, or all.
        figures: By operation (and ``all``, if there are several) and measure, each with its own error,
            without those of too few requests; empty if the run cannot be compared.
        total: All operations together; None in summaries that were kept without it.
    """

    run: str
    started_at: datetime
    target: str
    base_url: str
    plan: LoadPlan
    fingerprint: Fingerprint
    doubts: tuple[str, ...]
    operations: tuple[OperationLoad, ...]
    figures: Mapping[str, Mapping[str, RunFigure]]
    has_blocks: bool
    broken_facts: tuple[str, ...] = ()
    total: OperationLoad | None = None
    custom_metrics: tuple[CustomMetric, ...] = ()

    @property
    def measured(self) -> list[OperationLoad | CustomMetric]:
        return [*self.operations, *([self.total] if self.total else ()), *self.custom_metrics]

    @property
    def counters(self) -> Mapping[str, float]:
        return {each.name: each.per_s for each in self.custom_metrics if each.times is None}


def load_figures(record: RunRecord) -> LoadFigures:
    results = record.load
    if results is None:
        reason = next(iter(record.gaps), "load.json is missing: no figures are shown.")
        raise RunRecordError(
            f"{record.folder}: {reason}\n  Take the file from a copy of the run, or run again."
        )
    blocks = read_blocks(record.folder, sum(each.requests for each in results.operations))
    doubts = tuple(_doubts(record, results))
    return LoadFigures(
        run=record.folder.resolve().name,
        started_at=record.started_at,
        target=record.setup.target.name,
        base_url=record.setup.target.base_url,
        plan=results.plan,
        fingerprint=results.fingerprint,
        doubts=doubts,
        operations=results.operations,
        figures={} if results.capacity else _figures(results, blocks, has_rate=not doubts),
        has_blocks=bool(blocks),
        broken_facts=tuple(each.fact for each in results.invariants if each.broken),
        total=results.total,
        custom_metrics=results.custom_metrics,
    )


def _doubts(record: RunRecord, results: LoadResults) -> Iterator[str]:
    validity = results.validity
    if results.capacity:
        yield "It was a capacity search, so it has no single load to compare."
    elif not any(each.requests for each in results.operations):
        yield "Nothing was measured."
    reasons = zip(validity.doubts, validity.reasons, strict=False)
    lasting = [reason for doubt, reason in reasons if doubt is not Doubt.DELAY]
    yield from lasting
    if not (lasting or record.outcome.is_complete):
        yield "It did not come to its end."


def _figures(
    results: LoadResults, blocks: Mapping[str, Sequence[Block]], *, has_rate: bool
) -> Mapping[str, Mapping[str, RunFigure]]:
    total = sum(each.requests for each in results.operations)
    unsent = results.validity.not_sent / max(1, results.validity.arrivals)
    loads = {each.operation: each for each in results.operations if each.requests}
    if len(loads) > 1:
        loads[ALL] = results.total
    found: dict[str, dict[str, RunFigure]] = {}
    for name, load in loads.items():
        found[name] = dict(_of_operation(load, blocks.get(name, ()), unsent=unsent))
        if has_rate and load.per_s > 0:
            error = _rate_error(load.requests, total, results.plan)
            found[name][RATE] = RunFigure(value=load.per_s, error=error)
        if load.throughput_per_s:
            error = 1 / math.sqrt(load.requests)
            found[name][THROUGHPUT] = RunFigure(value=load.throughput_per_s, error=error)
    for each in results.custom_metrics:
        if each.times:
            found[each.name] = dict(_of_times(each.times, blocks.get(each.name, ()), unsent=unsent))
    return found


def _of_operation(
    load: OperationLoad, blocks: Sequence[Block], *, unsent: float
) -> Iterator[tuple[str, RunFigure]]:
    """Yield shares and times; ``unsent`` is the share of the tasks that were due and not sent."""
    for name in SHARES:
        yield name, _share(name, load, blocks)
    yield from _of_times(load.response, blocks, unsent=unsent, load=load)
    yield from _of_times(load.service, blocks, unsent=unsent, load=load, prefix="service_")


def _of_times(
    times: Times,
    blocks: Sequence[Block],
    *,
    unsent: float,
    load: OperationLoad | None = None,
    prefix: str = "",
) -> Iterator[tuple[str, RunFigure]]:
    """Yield percentiles: of an operation, or of a time of the scenario's own."""
    histograms = [each.service if prefix else each.response for each in blocks]
    for percent in PERCENTS:
        measure = percentile_measure(percent)
        if blocks:
            error = percentile_error(histograms, float(percent))
        else:  # the error is unknown: repeated runs and the expected noise stand in for it
            error = None if times.count * (1 - float(percent) / 100) < LEAST_BEYOND else 0.0
        value = time_ms(times, measure)
        if value is None and error and load and load.operation == ALL_OPERATIONS:  # load.json does not say it
            value = merged(histograms).percentile_s(float(percent)) * 1e3
        if error is not None and value:
            delay = load.doubts_ms.get(measure, 0.0) / value if load else 0.0
            hidden = _hidden_by_unsent(merged(histograms), float(percent), value, unsent)
            yield f"{prefix}{measure}", RunFigure(value=value, error=math.hypot(error, delay), hidden=hidden)


def _hidden_by_unsent(times: Histogram, percent: float, value_ms: float, unsent: float) -> float:
    """Return how much higher a percentile would be, as a logarithm, if all that was not sent were slower."""
    if not unsent:
        return 0.0
    among_sent = percent / (1 - unsent) if unsent < 1 else math.inf
    if among_sent > 100 or not times.counts:
        return UNBOUNDED
    return min(max(0.0, math.log(times.percentile_s(among_sent) * 1e3 / value_ms)), UNBOUNDED)


def _rate_error(requests: int, total: int, plan: LoadPlan) -> float:
    """Evenly spaced arrivals are exactly as many as asked for: only the mix of operations is random."""
    is_fixed = plan.model == "open" and plan.spacing == "constant"
    return math.sqrt((max(0.0, 1 - requests / total) if is_fixed else 1) / requests)


def _share(measure: str, load: OperationLoad, blocks: Sequence[Block]) -> RunFigure:
    share: float = getattr(load, measure)
    counts = [(each.counts[measure], each.requests) for each in blocks]
    counted, requests = zip(*(counts or [(round(share * load.requests), load.requests)]), strict=True)
    return RunFigure(value=share, error=share_error(counted, requests))
