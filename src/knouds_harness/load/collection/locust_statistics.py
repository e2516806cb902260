"""Exact percentiles in Locust's own statistics."""

from locust import stats


def exact_response_time(response_time_ms: float) -> float:
    """Return the value under which Locust counts a response time: the middle of two of our buckets, in ms.

    It is at most 0.1 % off. Two buckets, because Locust keeps 20 copies of each operation's counts: an hour
    of 20 operations would need 120 MB.
    """
    duration_ns = int(response_time_ms * 1e6)
    shift = duration_ns.bit_length() - 10
    if shift <= 0:
        return duration_ns / 1e6
    return ((duration_ns >> shift << shift) + (1 << (shift - 1))) / 1e6


def use_exact_buckets() -> None:
    """Make Locust count in our buckets from now on; its own are up to 50 % off.

    Call it in every process, such as while a Locust file is imported. Locust sends the buckets from workers
    to the master as they are, so percentiles stay exact.
    """
    stats.bucket_response_time = exact_response_time  # type: ignore[assignment] # floats do as well
