"""What a run comes to: whether it is valid, whether to end it early, and its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.collection.metrics import RECENT_S, RunMetrics, times
from knouds_harness.load.generator.health import Health
from knouds_harness.load.generator.validity import judge_generator
from knouds_harness.load.options import LoadOptions
from knouds_harness.measures.delay import Delay, KeptTimes
from knouds_harness.measures.objectives import Objective, judge_objectives
from knouds_harness.runs.load_results import JudgedObjective, LoadResults, LoadVerdict, Validity

_EXIT_CODES: Final = {
    LoadVerdict.BROKEN: ExitCode.BREACH,
    LoadVerdict.FAILED: ExitCode.BREACH,
    LoadVerdict.MISSED: ExitCode.BREACH,
    LoadVerdict.INVALID: ExitCode.INVALID_MEASUREMENT,
    LoadVerdict.MET: ExitCode.KEPT,
    LoadVerdict.MEASURED: ExitCode.KEPT,
}
_NOTHING_ENDED: Final = "No request ended after the warm-up, so nothing was measured."


def validity_of(
    options: LoadOptions,
    metrics: RunMetrics,
    health: Health,
    measured_s: float,
    *,
    kept: Iterable[KeptTimes],
    missing: Sequence[str],
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
        kept=kept,
        delay=Delay(health.lags),
        accuracy=options.accuracy,
        missing=missing if ended or not achieved else (*missing, _NOTHING_ENDED),
    )


def missed_bound(bounds: Sequence[Objective], metrics: RunMetrics) -> JudgedObjective | None:
    """The first bound of ``--abort-on`` that is missed over the last ten seconds, once ten are measured."""
    recent = metrics.recent_operations(RECENT_S) if bounds else None
    judged = judge_objectives(bounds, recent or ())
    return next((each for each in judged if not each.is_met and each.observed is not None), None)


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """What a run that nothing stopped ends with."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    return _EXIT_CODES[results.verdict]


def exit_summary(results: LoadResults) -> Iterator[str]:
    """What plain Locust does not say at the end, as lines for a terminal; none where all is well."""
    yield from results.note.splitlines()
    for each in results.never_kept:
        yield f"no request succeeded: {each.operation}, of {each.requests} requests"
    for each in results.mostly_failed:
        yield f"most requests failed: {each.operation}, {each.error_rate:.0%} of {each.requests}"
    for objective in results.objectives:
        if not objective.is_met:
            observed = "not measured" if objective.observed is None else f"{objective.observed:g}"
            yield (
                f"objective missed: {objective.operation} {objective.measure} {observed}, "
                f"bound {objective.bound:g}{objective.doubt and f'. {objective.doubt}'}"
            )
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
