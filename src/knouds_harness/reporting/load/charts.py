"""The data that the script of a load report draws."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from statistics import median
from typing import Any

from knouds_harness.runs.load_record import PER_DOUBLING, spread_counts
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    SECOND_TIMES,
    STATUSES,
    RequestStatus,
    SecondRow,
    Times,
)

_MOST_POINTS = 3600
_MOST_HEAT_COLUMNS = 180


def charts_of(load: LoadResults, seconds: Sequence[SecondRow]) -> Mapping[str, Any]:
    seconds = [second for second in seconds if second.at_s >= 0]  # a damaged file may hold others
    last_s = max((second.at_s for second in seconds), default=-1)
    step_s = max(1, ceil((last_s + 1) / _MOST_POINTS))
    points = ceil((last_s + 1) / step_s)
    names = [each.operation for each in sorted(load.operations, key=lambda each: -each.requests)]
    return {
        "warmUp": load.plan.warm_up_s,
        "end": load.plan.duration_s,
        "steadyFrom": load.steady_from_s,
        "step": step_s,
        "seconds": [number * step_s for number in range(points)],
        "asked": [_level(load, (number + 0.5) * step_s) for number in range(points)]
        if load.plan.model == "open"
        else None,
        "statusColours": {each.value: each.chart_colour for each in RequestStatus},
        "by_status": _by_status(seconds, points, step_s),
        "secondTimes": SECOND_TIMES,
        "times": _times(seconds, names, points, step_s),
        "heat": _heat(seconds, last_s),
        "percentiles": _curves(load),
        "capacity": [
            [point.achieved_per_s, point.p50_ms, point.p99_ms, point.is_kept]
            for point in (load.capacity.points if load.capacity else ())
        ],
        "knee": load.capacity.knee_per_s if load.capacity else None,
        "highest": load.capacity.highest_per_s if load.capacity else None,
    }


def _level(load: LoadResults, at_s: float) -> float | None:
    begins_s = 0.0
    for stage in load.plan.stages:
        if at_s < begins_s + stage.duration_s:
            part = (at_s - begins_s) / stage.duration_s
            return round(stage.start + (stage.end - stage.start) * part, 3)
        begins_s += stage.duration_s
    return None


def _by_status(seconds: Sequence[SecondRow], points: int, step_s: int) -> Mapping[str, list[float]]:
    """Return requests per second by status; statuses that never came are left out."""
    counts = {status: [0] * points for status in STATUSES}
    for second in seconds:
        if second.operation == ALL_OPERATIONS:
            continue  # older records have no counts of all operations
        for status, count in second.by_status.items():
            counts[status][second.at_s // step_s] += count
    return {
        status: [count / step_s if step_s > 1 else count for count in column]
        for status, column in counts.items()
        if status == RequestStatus.OK or any(column)
    }


def _times(
    seconds: Sequence[SecondRow], names: Sequence[str], points: int, step_s: int
) -> Mapping[str, Mapping[str, list[float | None]]]:
    """Return the times of each second: of all operations, then of each, the one with most requests first.

    A point of several seconds has the highest percentile and maximum of them, and the median of the medians.
    """
    columns: dict[str, dict[str, list[list[float]]]] = defaultdict(
        lambda: {name: [[] for _ in range(points)] for name in SECOND_TIMES}
    )
    for second in seconds:
        if all(getattr(second, name) is not None for name in SECOND_TIMES):
            for name, column in columns[second.operation].items():
                column[second.at_s // step_s].append(getattr(second, name))
    ordered = [name for name in (ALL_OPERATIONS, *names) if name in columns]
    ordered += sorted(set(columns) - set(ordered))
    return {
        operation: {
            name: [_figure((median if name == "p50_ms" else max)(at)) if at else None for at in column]
            for name, column in columns[operation].items()
        }
        for operation in ordered
    }


def _figure(number: float) -> float:
    return float(f"{number:.4g}")


def _heat(seconds: Sequence[SecondRow], last_s: int) -> Mapping[str, Any] | None:
    """Return spreads by operation: for each column the first bucket that is not empty, then its counts."""
    step_s = max(1, ceil((last_s + 1) / _MOST_HEAT_COLUMNS))
    counts: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for second in seconds:
        if second.spread:
            counts[second.operation, second.at_s // step_s].update(spread_counts(second.spread))
    if not counts:
        return None
    columns: dict[str, list[list[int]]] = {}
    for (operation, column), found in counts.items():
        low, high = min(found), max(found)
        of_operation = columns.setdefault(operation, [[] for _ in range(ceil((last_s + 1) / step_s))])
        of_operation[column] = [low, *(found[bucket] for bucket in range(low, high + 1))]
    return {"step": step_s, "perDoubling": PER_DOUBLING, "columns": columns}


def _curves(load: LoadResults) -> Mapping[str, Mapping[str, Any]]:
    curves = {ALL_OPERATIONS: {"response": _curve(load.overall)}} if load.overall else {}
    for each in load.operations:
        kinds = {"response": each.response, "service": each.service, "the server's own ms": each.server}
        curves[each.operation] = {name: _curve(times) for name, times in kinds.items() if times.count}
    return curves


def _curve(times: Times) -> Mapping[str, Any]:
    percentiles = sorted((float(percent), at_ms) for percent, at_ms in times.percentiles.items())
    return {
        "count": times.count,
        "min": _figure(times.min_ms),
        "max": _figure(times.max_ms),
        "at": [[percent, _figure(at_ms)] for percent, at_ms in percentiles],
    }
