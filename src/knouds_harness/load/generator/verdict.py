"""What a run comes to: whether the generator kept up, whether to end it early, and its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.collection.metrics import RECENT_S, RunMetrics, times
from knouds_harness.load.generator.health import Health
from knouds_harness.load.options import LoadOptions
from knouds_harness.measures.objectives import Objective, judge_objectives
from knouds_harness.runs.load_results import JudgedObjective, LoadResults, Times, Validity

MOST_LATENESS_P99_MS: Final = 5.0
"""Where one arrival in a hundred is later than this, response times hold the generator's own delay."""
MOST_LOOP_LAG_P99_MS: Final = 20.0
MOST_DROPPED_SHARE: Final = 0.001
LEAST_ACHIEVED_SHARE: Final = 0.99
MOST_CPU_SHARE: Final = 0.95
_NOTHING_ENDED: Final = "No request ended after the warm-up, so nothing was measured."


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


def validity_of(
    options: LoadOptions, metrics: RunMetrics, health: Health, *, measured_s: float, doubts: Sequence[str]
) -> Validity:
    """Judge the generator of a whole run by what was measured so far."""
    schedule, warm_up_s = options.schedule, options.warm_up_s
    asked_per_s = None
    ended = achieved = metrics.requests()
    if schedule and measured_s:
        asked_per_s = schedule.shape.area(warm_up_s, measured_s + warm_up_s) / measured_s
        achieved = health.handed
    return judge_generator(
        asked_per_s=asked_per_s,
        achieved_per_s=achieved / measured_s if measured_s else 0.0,
        arrivals=health.handed + health.dropped,
        dropped=health.dropped,
        lateness=times(health.lateness),
        loop_lag=times(health.loop_lag),
        cpu_share=health.cpu_share,
        doubts=doubts if ended or not achieved else (*doubts, _NOTHING_ENDED),
    )


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


def missed_bound(bounds: Sequence[Objective], metrics: RunMetrics) -> JudgedObjective | None:
    """The first bound of ``--abort-on`` that is missed over the last ten seconds, once ten are measured."""
    recent = metrics.recent_operations(RECENT_S) if bounds else None
    judged = judge_objectives(bounds, recent or ())
    return next((each for each in judged if not each.is_met and each.observed is not None), None)


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """What a run that nothing stopped ends with; what is broken counts even where times do not."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    if results.task_errors or results.never_kept:
        return ExitCode.BREACH
    if any(each.broken for each in results.invariants):  # broken, however late it was asked for
        return ExitCode.BREACH
    if not results.validity.is_valid:
        return ExitCode.INVALID_MEASUREMENT
    return ExitCode.KEPT if all(each.is_met for each in results.objectives) else ExitCode.BREACH


def exit_summary(results: LoadResults) -> Iterator[str]:
    """What plain Locust does not say at the end, as lines for a terminal; none where all is well."""
    yield from results.note.splitlines()
    for each in results.never_kept:
        yield f"nothing kept: {each.operation}, of {each.requests} requests"
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for objective in results.objectives:
        if not objective.is_met:
            observed = "not measured" if objective.observed is None else f"{objective.observed:g}"
            yield (
                f"objective missed: {objective.operation} {objective.measure} {observed}, "
                f"bound {objective.bound:g}"
            )
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
