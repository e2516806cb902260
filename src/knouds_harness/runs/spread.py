"""How the times of one second are spread: counts in coarse buckets, for heat maps, as one cell of a table.

Eight buckets to each doubling, the first from one microsecond on: each is 9 % wide. What is exact is in
``times.hlog``, at a hundred times the cost of reading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from functools import cache
from math import exp2, log2
from typing import Final

PER_DOUBLING: Final = 8
_WRITTEN: Final = re.compile(r"(?:\d{1,3}:\d{1,15}(?: |$))*", re.ASCII)


@cache
def spread_bucket(duration_ns: int) -> int:
    """The number of the bucket that a duration belongs to; what is under a microsecond is in the first."""
    return int(log2(max(duration_ns, 1000) / 1000) * PER_DOUBLING)


def spread_from_ms(bucket: int) -> float:
    """Where a bucket begins, in milliseconds."""
    return exp2(bucket / PER_DOUBLING) / 1000


def spread_text(durations: Iterable[tuple[int, int]]) -> str:
    """Counts in buckets as text, such as ``72:4 73:11``.

    Args:
        durations: Durations in ns, each with how often it came.
    """
    counts: dict[int, int] = {}
    for duration_ns, count in durations:
        bucket = spread_bucket(duration_ns)
        counts[bucket] = counts.get(bucket, 0) + count
    return " ".join(f"{bucket}:{counts[bucket]}" for bucket in sorted(counts))


def add_spread(text: str, counts: MutableMapping[str, int]) -> None:
    """Add what ``spread_text`` wrote to counts by bucket, the buckets as text.

    Raises:
        ValueError: It is something else.
    """
    for part in text.split():
        bucket, _, count = part.partition(":")
        counts[bucket] = counts.get(bucket, 0) + int(count)


def check_spread(text: str) -> None:
    """Make sure that a text is what ``spread_text`` writes.

    Raises:
        ValueError: It is something else.
    """
    if not _WRITTEN.fullmatch(text):
        raise ValueError(text)


def by_bucket(counts: Mapping[str, int]) -> dict[int, int]:
    """Counts that ``add_spread`` added up, by the number of the bucket.

    Raises:
        ValueError: A bucket is not a number.
    """
    return {int(bucket): count for bucket, count in counts.items()}
