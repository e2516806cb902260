"""Add operations up, and tell whether answers came as often as requests were due."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    NO_TIMES,
    STATUSES,
    OperationLoad,
    Times,
    labelled,
    time_ms,
)

_LEAST_LAG: Final = 0.01
_CLEARLY_MORE: Final = 1.1
_LONG: Final = 0.3
"""The share of a load that answers take on average from which requests in flight are a backlog, too."""
_WAITED: Final = 0.9
"""The share of the time in which a backlog is answered that its last request has waited at least."""
_ADDED_UP: Final = tuple(each.name for each in fields(OperationLoad) if each.default == 0)
"""Counts of an operation that older records do not have."""


def together(
    name: str, loads: Sequence[OperationLoad], response: Times, *, model: str = "open"
) -> OperationLoad:
    """Add up operations; ``response`` are the times of their requests that are ok."""
    throughputs_per_s = [each.throughput_per_s for each in loads if each.throughput_per_s is not None]
    return OperationLoad(
        operation=name,
        requests=sum(each.requests for each in loads),
        per_s=sum(each.per_s for each in loads),
        throughput_per_s=sum(throughputs_per_s) if len(throughputs_per_s) == len(loads) else None,
        by_status={status: sum(each.by_status[status] for each in loads) for status in STATUSES},
        errors=(),
        response=response,
        service=response if model == "closed" else NO_TIMES,
        refused_response=NO_TIMES,
        server=NO_TIMES,
        **{each: sum(getattr(load, each) for load in loads) for each in _ADDED_UP},
    )


def totals_of(
    operations: Sequence[OperationLoad],
    overall: Times,
    overall_by_label: Mapping[str, Times],
    *,
    model: str = "open",
) -> tuple[OperationLoad, ...]:
    """Add up the operations of each label, such as those of a scenario, then all."""
    by_label = (
        together(
            labelled(label, ALL_OPERATIONS),
            [each for each in operations if each.operation.startswith(labelled(label, ""))],
            times,
            model=model,
        )
        for label, times in overall_by_label.items()
    )
    return (*by_label, together(ALL_OPERATIONS, operations, overall, model=model))


def lags(load: OperationLoad) -> bool:
    """Whether answers came less often than requests were due, by more than a hundredth."""
    return load.throughput_per_s is not None and load.throughput_per_s < (1 - _LEAST_LAG) * load.per_s


def backlog_of(total: OperationLoad, *, warm_up_s: float) -> int:
    """Return how many more requests waited for their answers at the end; 0 if the target kept up.

    Requests that are in flight at any moment, as many as are due in the time of an answer, do not count,
    unless answers take a good part of the load. Nor do those that are sent later on purpose, as polls are:
    the last of a queue waits until all before it are answered.
    """
    mean_s = (total.response.mean_ms or 0.0) / 1e3
    longest_s = (time_ms(total.response, "max_ms") or 0.0) / 1e3
    if not mean_s or not total.throughput_per_s or not lags(total):
        return 0
    grown = total.requests * (1 - total.throughput_per_s / total.per_s)
    at_first = total.per_s * max(0.0, mean_s - warm_up_s)
    is_more = grown > _CLEARLY_MORE * at_first + 4 * math.sqrt(total.per_s * mean_s)
    is_long = mean_s > _LONG * total.requests / total.per_s
    is_queue = longest_s > _WAITED * grown / total.throughput_per_s
    return round(grown) if is_queue and (is_more or is_long) else 0


def describe_backlog(total: OperationLoad, backlog: int) -> str:
    """Say that the target did not keep up, as reports and the reason why tasks were not sent do."""
    rates = f"{total.throughput_per_s:,.1f}/s of {total.per_s:,.1f}/s due"
    return f"Answers came at {rates}: the backlog grew by {backlog:,} requests."
