"""What the probe saw, for processes that Locust has not patched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the generator saw.

    Attributes:
        start_s: When the schedule began, in seconds of ``time.perf_counter``; request ``n`` was due ``n``
            divided by the rate after it.
        duration_s: How long it lasted.
        handed: Arrivals that were sent.
        dropped: Arrivals that found no user idle.
        response_counts: Response times of answers that were kept, by bucket.
        service_counts: Service times of these, by bucket.
        failed: Requests that were not kept.
        lateness_counts: How late arrivals were taken, by bucket.
        lag_counts: How late the event loop was, by ``lag_class`` and bucket.
        timer: What drove the arrivals.
        cpu_s: Processor time of the process while it sent.
    """

    start_s: float
    duration_s: float
    handed: int
    dropped: int
    response_counts: dict[int, int]
    service_counts: dict[int, int]
    failed: int
    lateness_counts: dict[int, int]
    lag_counts: dict[int, dict[int, int]]
    timer: str
    cpu_s: float


def read_observed(text: str) -> Observed:
    """What ``main`` printed."""
    members: dict[str, Any] = json.loads(text)
    for name in ("response_counts", "service_counts", "lateness_counts"):
        members[name] = _with_numbers(members[name])
    lags = _with_numbers(members["lag_counts"])
    return Observed(
        **{**members, "lag_counts": {missed: _with_numbers(each) for missed, each in lags.items()}}
    )


def _with_numbers(counts: dict[str, Any]) -> dict[int, Any]:
    """Keys of JSON are text."""
    return {int(key): count for key, count in counts.items()}
