"""What the seconds of a run say of how far its own figures can be trusted.

Requests of one second share a garbage collection, a busy neighbour, a queue: they are not independent
samples. So a run is cut into a few blocks of whole seconds: what differs between blocks is its uncertainty.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from knouds_harness.measures.hdr_logs import Interval, read_hdr_log
from knouds_harness.measures.histograms import Histogram, bucket_of, merged
from knouds_harness.runs.operation_load import ERRORS, RequestStatus

TIMES_FILE: Final = "times.hlog"
MOST_BLOCKS: Final = 20
LEAST_BEYOND: Final = 5
"""A percentile with fewer requests above it says little of the next run's."""
ALL: Final = "all"
_KEPT: Final = "kept"
_COUNTED: Final[Mapping[str, Sequence[str]]] = {
    "error_rate": ERRORS,
    "throttled_rate": (RequestStatus.THROTTLED.value,),
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some seconds of one operation.

    Attributes:
        counts: How many requests count in each of ``SHARES``.
        response: Times of those that were kept, from when they were due.
        service: The same from when they were sent.
    """

    requests: int
    counts: Mapping[str, int]
    response: Histogram
    service: Histogram


def read_blocks(folder: Path, requests: int) -> Mapping[str, Sequence[Block]]:
    """The blocks of each operation, and of ``all`` together; none where the times are gone."""
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
            for name in (each.series[0], ALL):
                parts[name][block_of[each.start_unix_s]].append(each)
    blocks = {
        name: [_block(by_block[index]) for index in sorted(by_block)]
        for name, by_block in sorted(parts.items())
    }
    return {name: found for name, found in blocks.items() if any(each.requests for each in found)}


def percentile_error(histograms: Sequence[Histogram], percent: float) -> float | None:
    """The standard error of the logarithm of a percentile, from what differs between blocks.

    Woodruff's method: the error of the share of requests under the percentile, between blocks, carried over
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
    """The standard error of a share of requests; without any error, of one that would just not have shown."""
    total = sum(requests)
    share = sum(errors) / total
    least = (sum(errors) + 1) / (total + 2)
    between = _sum_error([wrong - share * each for wrong, each in zip(errors, requests, strict=True)])
    return max(between, math.sqrt(total * least * (1 - least))) / total


def _sum_error(deviations: Sequence[float]) -> float:
    """The standard error of a sum over blocks, from how far each is from its share."""
    count = len(deviations)
    if count < 2:
        return 0.0
    mean = sum(deviations) / count
    return math.sqrt(count / (count - 1) * sum((each - mean) ** 2 for each in deviations))


def _measured_seconds(intervals: Iterable[Interval], requests: int) -> list[float]:
    """The last seconds that together hold so many requests."""
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
    response = [each for each in intervals if each.series[2] == "response"]
    by_status = Counter[str]()
    for each in response:
        by_status[each.series[1]] += len(each.histogram)
    kept = merged(each.histogram for each in response if each.series[1] == _KEPT)
    service = merged(each.histogram for each in intervals if each.series[1:] == (_KEPT, "service"))
    return Block(
        requests=sum(len(each.histogram) for each in response),
        counts={name: sum(by_status[status] for status in counted) for name, counted in _COUNTED.items()},
        response=kept,
        service=service if service.counts else kept,
    )
