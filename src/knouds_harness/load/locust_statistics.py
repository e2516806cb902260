"""True percentiles in Locust's own statistics: its web page, its CSV files and its summary."""

from __future__ import annotations

from locust import stats


def exact_response_time(response_time_ms: float) -> float:
    """What Locust counts a response time as: the middle of two of our buckets, in ms.

    That is at most 0.1 % away. Two, because Locust keeps 20 copies of each operation's counts: an hour of 20
    operations would need 120 MB.
    """
    duration_ns = int(response_time_ms * 1e6)
    shift = duration_ns.bit_length() - 10
    if shift <= 0:
        return duration_ns / 1e6
    return ((duration_ns >> shift << shift) + (1 << (shift - 1))) / 1e6


def use_exact_buckets() -> None:
    """Have Locust count in buckets as ours from now on, in place of its own, which are up to 50 % off.

    Call it in every process, before the first request. Locust sends the buckets from workers to the master as
    they are, so percentiles stay exact.
    """
    stats.bucket_response_time = exact_response_time  # type: ignore[assignment] # floats do as well
