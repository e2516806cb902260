"""How long a full check likely takes: by the latency of the target, and by the requests in flight."""

import math
from typing import Final

_IN_A_ROW: Final = 2_200
"""Requests of a full check, of all tests, that wait for each other."""
_OVERLAPPING: Final = 5_000
"""Those that wait for others only as long as more are due than may be in flight."""
_OF_THIS_MACHINE_S: Final = 20.0
_FILLING_S: Final = 80.0
"""How long it takes at least to fill a window of 60 s, beside everything else."""
_MOST_AT_ONCE: Final = 32
_S_PER_MINUTE: Final = 60


def check_time_s(latency_ms: float, at_once: int, *, share: float = 1.0, fills_window: bool = False) -> float:
    """Estimate the seconds of a full check.

    Args:
        latency_ms: Time of one answer.
        at_once: Requests in flight.
        share: Share of the suite's tests that are possible.
        fills_window: Whether a rate-limit window is filled in real time.

    The numbers of requests are fitted to ``benchmarks/check_latency.py`` (benchmarks/README.md), and scaled
    to the requests that a full check has sent since then.
    """
    waits_s = latency_ms / 1000 * (_IN_A_ROW + _OVERLAPPING / at_once)
    return max(share * (waits_s + _OF_THIS_MACHINE_S), _FILLING_S if fills_window else 0.0)


def check_time_words(latency_ms: float, at_once: int, *, share: float, fills_window: bool) -> str:
    """Say how long a full check likely takes, and with which concurrency it would take half."""

    def time_s(number: int) -> float:
        return check_time_s(latency_ms, number, share=share, fills_window=fills_window)

    now_s = time_s(at_once)
    halving = next((each for each in range(at_once, _MOST_AT_ONCE + 1) if time_s(each) <= now_s / 2), None)
    words = f"At {latency_ms:.0f} ms for an answer, a full check takes about {_duration(now_s)}"
    if halving:
        return f"{words}; limits.concurrency = {halving} in place of {at_once} would halve it."
    if (best_s := time_s(_MOST_AT_ONCE)) > now_s * 0.9:
        return f"{words}, and a higher limits.concurrency than {at_once} makes it little faster."
    return (
        f"{words}; no limits.concurrency would halve it, {_MOST_AT_ONCE} in place of {at_once} makes it "
        f"{_duration(best_s)}."
    )


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / _S_PER_MINUTE)
    return f"{math.ceil(seconds / 10) * 10} s" if seconds < 2 * _S_PER_MINUTE else f"{minutes} min"
