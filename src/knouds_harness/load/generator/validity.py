"""Whether the generator kept up: only then are a run's metrics the target's. Imports no Locust."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from knouds_harness.runs.load_results import Times, Validity

MOST_LATENESS_P99_MS: Final = 5.0
"""Where one arrival in a hundred is later than this, response times hold the generator's own delay."""
MOST_LOOP_LAG_P99_MS: Final = 20.0
MOST_DROPPED_SHARE: Final = 0.001
LEAST_ACHIEVED_SHARE: Final = 0.99
MOST_CPU_SHARE: Final = 0.95


def judge_generator(
    *,
    asked_per_s: float | None,
    achieved_per_s: float,
    arrivals: int,
    dropped: int,
    lateness: Times,
    loop_lag: Times,
    cpu_share: float,
    doubts: Iterable[str] = (),
) -> Validity:
    """Judge the generator by what it did; the members are those of ``Validity``, and doubts more reasons."""
    judged = Validity(
        is_valid=True,
        reasons=(),
        asked_per_s=asked_per_s,
        achieved_per_s=achieved_per_s,
        arrivals=arrivals,
        dropped=dropped,
        lateness=lateness,
        loop_lag=loop_lag,
        cpu_share=cpu_share,
    )
    reasons = (*doubts, *_reasons(judged))
    return replace(judged, is_valid=not reasons, reasons=reasons)


def _reasons(judged: Validity) -> Iterator[str]:
    if not judged.achieved_per_s:
        yield "Nothing was sent after the warm-up."
    if judged.arrivals and judged.dropped > MOST_DROPPED_SHARE * judged.arrivals:
        yield (
            f"{judged.dropped} of {judged.arrivals} arrivals found all users busy and were not sent: "
            "ask for more users, or a lower rate."
        )
    elif judged.asked_per_s and judged.achieved_per_s < LEAST_ACHIEVED_SHARE * judged.asked_per_s:
        sent, asked = f"{judged.achieved_per_s:.0f}", f"{judged.asked_per_s:.0f}"
        yield f"{sent} requests per second were sent of {asked} asked for."
    one_in, late_ms = _tail(judged.lateness)
    if judged.lateness.count and late_ms > MOST_LATENESS_P99_MS:
        yield (
            f"One arrival in {one_in} was sent {late_ms:.1f} ms late or later: "
            "use more processes, or a quieter machine."
        )
    one_in, late_ms = _tail(judged.loop_lag)
    if judged.loop_lag.count and late_ms > MOST_LOOP_LAG_P99_MS:
        yield (
            f"The event loop was {late_ms:.0f} ms late or later one time in {one_in}, "
            "and so are all times: use more processes, or a quieter machine."
        )
    if judged.cpu_share > MOST_CPU_SHARE:
        yield f"A process of the generator used {judged.cpu_share:.0%} of its core: use more processes."


def _tail(times: Times) -> tuple[str, float]:
    """One in how many was so late: of few, a single one is not one in a hundred, so two have to be.

    Returns:
        The number in words, and milliseconds.
    """
    for at_least, percent, one_in in ((200, "99", "a hundred"), (40, "95", "twenty")):
        if times.count >= at_least:
            return one_in, times.percentiles[percent]
    return "ten", times.percentiles.get("90", 0.0)
