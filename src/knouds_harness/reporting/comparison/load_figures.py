"""What a load run brings to a comparison, small enough to be kept: figures, and how sure each is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from knouds_harness.errors import RunRecordError
from knouds_harness.measures.histograms import merged
from knouds_harness.reporting.comparison.blocks import (
    ALL,
    LEAST_BEYOND,
    Block,
    percentile_error,
    read_blocks,
    share_error,
)
from knouds_harness.reporting.comparison.change import Figure
from knouds_harness.reporting.comparison.tolerances import RATE, SHARES
from knouds_harness.runs.load_results import Fingerprint, LoadPlan, LoadResults
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    PERCENTS,
    OperationLoad,
    Times,
    percentile_measure,
    time_ms,
)
from knouds_harness.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class LoadFigures:
    """One load run.

    Attributes:
        fingerprint: What generated the load.
        doubts: Why its figures are not the target's, in sentences; none where they are.
        figures: By operation (and ``all``, where there are several) and measure; what too few requests say is
            left out.
        has_blocks: Its seconds could be read, so that the errors of its figures are known.
        total: Of all operations together; None in summaries that were kept without.
    """

    run: str
    started_at: datetime
    target: str
    base_url: str
    plan: LoadPlan
    fingerprint: Fingerprint
    doubts: tuple[str, ...]
    operations: tuple[OperationLoad, ...]
    figures: Mapping[str, Mapping[str, Figure]]
    has_blocks: bool
    broken_facts: tuple[str, ...] = ()
    total: OperationLoad | None = None


def load_figures(record: RunRecord) -> LoadFigures:
    """Read what a comparison needs of a load run.

    Raises:
        RunRecordError: Its ``load.json`` cannot be read.
    """
    if record.load is None:
        reason = next(iter(record.gaps), "load.json is missing: no figures are shown.")
        raise RunRecordError(
            f"{record.folder}: {reason}\n  Take the file from a copy of the run, or run again."
        )
    results = record.load.results
    blocks = read_blocks(record.folder, sum(each.requests for each in results.operations))
    return LoadFigures(
        run=record.folder.resolve().name,
        started_at=record.started_at,
        target=record.setup.target.name,
        base_url=record.setup.target.base_url,
        plan=results.plan,
        fingerprint=results.fingerprint,
        doubts=tuple(_doubts(record, results)),
        operations=results.operations,
        figures=_figures(results, blocks),
        has_blocks=bool(blocks),
        broken_facts=tuple(each.fact for each in results.invariants if each.broken),
        total=results.total,
    )


def _doubts(record: RunRecord, results: LoadResults) -> Iterator[str]:
    if not results.validity.is_valid:
        yield from results.validity.reasons
    elif not record.outcome.is_complete:
        yield "It did not come to its end."
    elif results.capacity:
        yield "It searched the highest rate, so it has no one load to compare."
    elif not any(each.requests for each in results.operations):
        yield "Nothing was measured."


def _figures(
    results: LoadResults, blocks: Mapping[str, Sequence[Block]]
) -> Mapping[str, Mapping[str, Figure]]:
    total = sum(each.requests for each in results.operations)
    found = {
        each.operation: dict(_of_operation(each, results.plan, total, blocks.get(each.operation, ())))
        for each in results.operations
        if each.requests
    }
    if len(found) > 1:
        found[ALL] = dict(_of_operation(results.total, results.plan, total, blocks.get(ALL, ())))
    return found


def _of_operation(
    load: OperationLoad, plan: LoadPlan, total: int, blocks: Sequence[Block]
) -> Iterator[tuple[str, Figure]]:
    if load.per_s > 0 and load.requests:
        yield RATE, Figure(value=load.per_s, error=_rate_error(load.requests, total, plan))
    for name in SHARES:
        yield name, _share(name, load, blocks)
    for percent in PERCENTS:
        measure = percentile_measure(percent)
        for prefix, times in (("", load.response), ("service_", load.service)):
            error = _time_error(blocks, prefix, percent) if blocks else _error_without_blocks(times, percent)
            value = time_ms(times, measure)
            if value is None and error and load.operation == ALL_OPERATIONS:  # load.json does not say it
                whole = merged(each.service if prefix else each.response for each in blocks)
                value = whole.percentile_s(float(percent)) * 1e3
            if error is not None and value:
                yield f"{prefix}{measure}", Figure(value=value, error=error)


def _rate_error(requests: int, total: int, plan: LoadPlan) -> float:
    """Evenly spaced arrivals are as many as asked for: only the mix of operations is left to chance."""
    is_fixed = plan.model == "open" and plan.spacing == "constant"
    return math.sqrt((max(0.0, 1 - requests / total) if is_fixed else 1) / requests)


def _share(measure: str, load: OperationLoad, blocks: Sequence[Block]) -> Figure:
    share: float = getattr(load, measure)
    counts = [(each.counts[measure], each.requests) for each in blocks]
    counted, requests = zip(*(counts or [(round(share * load.requests), load.requests)]), strict=True)
    return Figure(value=share, error=share_error(counted, requests))


def _time_error(blocks: Sequence[Block], prefix: str, percent: str) -> float | None:
    histograms = [each.service if prefix else each.response for each in blocks]
    return percentile_error(histograms, float(percent))


def _error_without_blocks(times: Times, percent: str) -> float | None:
    """Nothing is known of it; repeated runs and the noise that is expected have to do."""
    return None if times.count * (1 - float(percent) / 100) < LEAST_BEYOND else 0.0
