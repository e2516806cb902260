"""Judge a run: whether the generator kept up, whether to end it early, and its exit code."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Self

import gevent

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.arrival_user import open_timer
from knouds_harness.load.collection.metrics import RECENT_S, RunMetrics, times
from knouds_harness.load.options import LoadOptions
from knouds_harness.measures.delay import BEAT_S, CorrectedTimes, Delay, KeptTimes, lag_class
from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.measures.objectives import Objective, describe, judge_objectives
from knouds_harness.runs.load_results import (
    DelayedFigure,
    Doubt,
    JudgedObjective,
    LoadResults,
    LoadVerdict,
    Validity,
)

MOST_DROPPED_SHARE: Final = 0.001
MOST_UNSENT_SHARE: Final = 0.01
MOST_CPU_SHARE: Final = 0.95
_RARE: Final = ("p99.9_ms", "max_ms")
"""A few requests decide these figures: a delay in them does not make a run invalid."""
_EXIT_CODES: Final = {
    LoadVerdict.BROKEN: ExitCode.BREACH,
    LoadVerdict.FAILED: ExitCode.BREACH,
    LoadVerdict.MISSED: ExitCode.BREACH,
    LoadVerdict.INVALID: ExitCode.INVALID_MEASUREMENT,
    LoadVerdict.MET: ExitCode.KEPT,
    LoadVerdict.MEASURED: ExitCode.KEPT,
}
_NOTHING_ENDED: Final = "No request ended after the warm-up, so nothing was measured."


@dataclass(kw_only=True)
class Health:
    """What one process measured of itself since the warm-up.

    Attributes:
        lateness: From when an arrival was due until a user took it.
        lags: How late heartbeats of the event loop came, by ``lag_class``.
        handed: Arrivals that a user took.
        spent_credits: What was charged, or may have been, since the process began.
    """

    lateness: Histogram = field(default_factory=Histogram)
    lags: defaultdict[int, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    due: int = 0
    handed: int = 0
    dropped: int = 0
    cpu_share: float = 0.0
    spent_credits: float = 0.0
    in_flight: int = 0

    @property
    def loop_lag(self) -> Histogram:
        return merged(self.lags.values())

    def packed(self) -> dict[str, Any]:
        lags = {missed: lags.counts for missed, lags in self.lags.items()}
        return vars(self) | {"lateness": self.lateness.counts, "lags": lags}

    @classmethod
    def unpacked(cls, message: Mapping[str, Any]) -> Self:
        lags = {missed: Histogram(counts) for missed, counts in message["lags"].items()}
        lateness = Histogram(message["lateness"])
        return cls(**{**message, "lateness": lateness, "lags": defaultdict(Histogram, lags)})


def together(processes: Iterable[Health]) -> Health:
    """Add up the health of all processes; of their CPU shares, take the highest."""
    whole = Health()
    for each in processes:
        whole.lateness.add(each.lateness)
        for missed, lags in each.lags.items():
            whole.lags[missed].add(lags)
        whole.due += each.due
        whole.handed += each.handed
        whole.dropped += each.dropped
        whole.cpu_share = max(whole.cpu_share, each.cpu_share)
        whole.spent_credits += each.spent_credits
        whole.in_flight += each.in_flight
    return whole


class HealthMonitor:
    """Watches this process; begin it when load begins, and again when the warm-up is over."""

    def __init__(self) -> None:
        self._health = Health()
        self._began_s = self._cpu_began_s = 0.0
        self._beating: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        """Forget what was measured, and measure from now on."""
        self._health = Health()
        self._began_s, self._cpu_began_s = time.perf_counter(), time.process_time()
        if self._beating is None:
            self._beating = gevent.spawn(self._beat)

    def health(self) -> Health:
        """Return what was measured since ``begin``; the caller adds the counts of arrivals."""
        health = self._health
        elapsed_s = time.perf_counter() - self._began_s
        health.cpu_share = (time.process_time() - self._cpu_began_s) / elapsed_s if elapsed_s > 0 else 0.0
        return health

    def _beat(self) -> None:
        due_s, missed = time.perf_counter(), 0
        with open_timer() as timer:
            while True:
                due_s += BEAT_S
                # Beats that were due while the loop stood still count too: responses came then as well.
                missed = 0 if due_s > time.perf_counter() else missed + 1
                timer.wait_until(due_s)
                self._health.lags[lag_class(missed)].record(time.perf_counter() - due_s)


def judge_generator(
    seen: Validity, *, kept: Sequence[KeptTimes] = (), delay: Delay, missing: Sequence[str] = ()
) -> Validity:
    """Judge whether the generator kept up, by what was ``seen`` of it.

    The times of ``kept`` requests, of each operation and of all together, are compared with the ``delay`` in
    reading responses. ``missing`` says why figures are incomplete.
    """
    moved = [delay.figures_moved(each, accuracy=seen.accuracy) for each in kept]
    judged = replace(seen, delayed=tuple(chain.from_iterable(moved)))
    longest_ms = max((each.service.max_s * 1e3 for each in kept), default=0.0)
    found = [*((Doubt.MISSING, reason) for reason in missing), *_reasons(judged, longest_ms)]
    return replace(
        judged,
        is_valid=not found,
        reasons=tuple(reason for _, reason in found),
        doubts=tuple(doubt for doubt, _ in found),
    )


def _reasons(judged: Validity, longest_ms: float) -> Iterator[tuple[Doubt, str]]:
    if not judged.achieved_per_s:
        yield Doubt.MISSING, "Nothing was sent after the warm-up."
    if judged.dropped > MOST_DROPPED_SHARE * judged.arrivals:
        unsent = f"{judged.dropped} of {judged.arrivals} tasks were not sent, as all users were busy"
        stalled = (
            f" The longest answer took {longest_ms:,.0f} ms: a target that stalls keeps users busy, too."
        )
        yield Doubt.BUSY, f"{unsent}: ask for more users, or a lower rate.{stalled if longest_ms else ''}"
    elif judged.not_sent > MOST_UNSENT_SHARE * judged.arrivals:
        unsent = f"{judged.not_sent} of {judged.arrivals} tasks were due and not sent in time"
        yield Doubt.UNSENT, f"{unsent}: use more processes, or a quieter machine."
    delayed = [each for each in judged.delayed if each.measure not in _RARE]
    if delayed:
        worst = max(delayed, key=lambda each: each.measured_ms / (each.undelayed_ms or each.measured_ms))
        others = ", as other figures do" if delayed[1:] else ""
        yield Doubt.DELAY, f"{_described(worst)}{others}: use more processes, or a quieter machine."
    if judged.asked_per_s is None and judged.cpu_share > MOST_CPU_SHARE:
        # At a rate, only a process that sends less, or reads late, moves a figure.
        yield (
            Doubt.UNSENT,
            f"A process of the generator used {judged.cpu_share:.0%} of its core: use more processes.",
        )


def _described(figure: DelayedFigure) -> str:
    name = figure.measure.removesuffix("_ms")
    known_ms, measured_ms = figure.undelayed_ms, figure.measured_ms
    own = "much" if known_ms is None else f"up to {measured_ms - known_ms:.1f} ms"
    return f"{name} of {figure.operation} ({measured_ms:.1f} ms) includes {own} of the generator's own delay"


def with_doubts(
    objectives: Iterable[JudgedObjective], validity: Validity, *, kept: Iterable[KeptTimes], delay: Delay
) -> tuple[JudgedObjective, ...]:
    """Add to each missed objective why the generator may be the cause, if it may."""
    kept_by_operation = {each.operation: each for each in kept}
    return tuple(
        each
        if each.is_met
        else replace(each, doubt=_doubt(each, validity, kept_by_operation.get(each.operation), delay))
        for each in objectives
    )


def _doubt(missed: JudgedObjective, validity: Validity, kept: KeptTimes | None, delay: Delay) -> str:
    """Say why the generator may be the cause; empty if it cannot be.

    Too little load makes no response slower, and a delay of the generator makes no request fail.
    """
    measure = missed.measure.removeprefix("service_")
    is_time = measure.endswith("_ms")
    for doubt, reason in zip(validity.doubts, validity.reasons, strict=True):
        is_rate = missed.observed is None or measure == "requests_per_s"
        if (is_rate and doubt is not Doubt.DELAY) or (is_time and doubt is Doubt.MISSING):
            return reason
    if kept is None or not is_time or not kept.service.counts:
        return ""
    undelayed = CorrectedTimes(kept.service, delay)
    if not undelayed.may_be_under(measure, missed.bound):
        return ""
    least_ms = undelayed.figure_ms(measure)
    if least_ms is None:
        return "The generator's own delay may be the cause: a single request decides this figure."
    return f"Without the generator's own delay it may be as low as {least_ms:.1f} ms."


def validity_of(
    options: LoadOptions,
    metrics: RunMetrics,
    health: Health,
    measured_s: float,
    *,
    kept: Sequence[KeptTimes],
    missing: Sequence[str],
) -> Validity:
    """Judge the generator by all that the run has measured so far."""
    schedule, from_s = options.schedule, metrics.measured_from_s
    asked_per_s = None
    ended = achieved = metrics.requests()
    if schedule and measured_s:
        asked_per_s = schedule.shape.area(from_s, from_s + measured_s) / measured_s
        achieved = health.handed
    seen = Validity(
        is_valid=True,
        reasons=(),
        asked_per_s=asked_per_s,
        achieved_per_s=achieved / measured_s if measured_s else 0.0,
        arrivals=health.due,
        dropped=health.dropped,
        unsent=health.due - health.handed - health.dropped,
        lateness=times(health.lateness),
        loop_lag=times(health.loop_lag),
        cpu_share=health.cpu_share,
        accuracy=options.accuracy,
    )
    missing = missing if ended or not achieved else (*missing, _NOTHING_ENDED)
    return judge_generator(seen, kept=kept, delay=Delay(health.lags), missing=missing)


def missed_bound(bounds: Sequence[Objective], metrics: RunMetrics) -> JudgedObjective | None:
    """Return the first ``--abort-on`` bound missed over the last ten seconds; None before so many."""
    recent = metrics.recent_operations(RECENT_S) if bounds else None
    judged = judge_objectives(bounds, recent or ())
    return next((each for each in judged if not each.is_met and each.observed is not None), None)


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """Return the exit code of a run for which ``stop`` set none."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    return _EXIT_CODES[results.verdict]


def exit_summary(results: LoadResults) -> Iterator[str]:
    """Yield what plain Locust does not print at the end, as lines for a terminal; none if all is well."""
    yield from results.note.splitlines()
    for each in results.never_kept:
        yield f"no request succeeded: {each.operation}, of {each.requests} requests"
    for each in results.mostly_failed:
        yield f"most requests failed: {each.operation}, {each.error_rate:.0%} of {each.requests}"
    for objective in results.objectives:
        if not objective.is_met:
            yield f"objective missed: {describe(objective)}"
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
