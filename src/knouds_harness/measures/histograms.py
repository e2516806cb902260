"""Histograms of durations: log-linear buckets, merged exactly.

The buckets are HdrHistogram's for three digits and a unit of one nanosecond: exact up to 2,047 ns, and from
there 1,024 to each doubling, so that none is wider than 0.1 % of its values. A bucket has its number in
HdrHistogram's count array, so converting there and back loses nothing (``hdr_logs``).

A count is one addition in a plain dict. Where even a call is too much, count by hand::

    counts[bucket] = counts.get(bucket, 0) + 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from math import ceil

MAX_NS = 10 * 60 * 1_000_000_000
"""Longer durations count as ten minutes."""


def bucket_of(duration_ns: int) -> int:
    shift = duration_ns.bit_length() - 11
    return (shift << 10) + (duration_ns >> shift) if shift > 0 else duration_ns


def lowest_of(bucket: int) -> int:
    shift = max((bucket >> 10) - 1, 0)
    return (bucket - (shift << 10)) << shift


def highest_of(bucket: int) -> int:
    return lowest_of(bucket + 1) - 1


@cache  # there are some 30,000 buckets at most, and each second asks for the same ones
def middle_of(bucket: int) -> int:
    """Return the duration in ns that stands for all of a bucket; at most 0.05 % off."""
    return (lowest_of(bucket) + highest_of(bucket)) // 2


class Histogram:
    """Counts of durations, by bucket."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment] # it changes

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __repr__(self) -> str:
        return f"Histogram({len(self)} in {len(self.counts)} buckets)"

    def record(self, duration_s: float, count: int = 1) -> None:
        """Count a duration; one under zero counts as zero, one over ten minutes as ten minutes."""
        bucket = bucket_of(min(max(int(duration_s * 1e9), 0), MAX_NS))
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def add(self, other: Histogram) -> None:
        mine = self.counts
        for bucket, count in other.counts.items():
            mine[bucket] = mine.get(bucket, 0) + count

    def since(self, earlier: Histogram) -> Histogram:
        """Return the counts added since ``earlier``; all of these if counting has restarted."""
        grown = {bucket: count - earlier.counts.get(bucket, 0) for bucket, count in self.counts.items()}
        if any(count < 0 for count in grown.values()):
            return self
        return Histogram({bucket: count for bucket, count in grown.items() if count})

    def percentiles_s(self, *percents: float) -> list[float]:
        """Return percentiles in seconds, exact to 0.05 %; zeros without any count."""
        total = len(self)
        if not total:
            return [0.0 for _ in percents]
        ranks = [max(ceil(total * percent / 100 - 1e-9), 1) for percent in percents]
        found: dict[int, float] = {}
        wanted = sorted(set(ranks), reverse=True)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            while wanted and seen >= wanted[-1]:
                found[wanted.pop()] = middle_of(bucket) / 1e9
        return [found[rank] for rank in ranks]

    def percentile_s(self, percent: float) -> float:
        return self.percentiles_s(percent)[0]

    @property
    def mean_s(self) -> float:
        """Exact to 0.05 %, as the shortest and the longest are; zero without any count."""
        total = len(self)
        return total and sum(middle_of(bucket) * count for bucket, count in self.counts.items()) / total / 1e9

    @property
    def min_s(self) -> float:
        return middle_of(min(self.counts)) / 1e9 if self.counts else 0.0

    @property
    def max_s(self) -> float:
        return middle_of(max(self.counts)) / 1e9 if self.counts else 0.0


def merged(histograms: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for histogram in histograms:
        whole.add(histogram)
    return whole
