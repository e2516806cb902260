"""Judge a run: whether the generator kept up, whether to end it early, and its exit code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.schedule import Shape
from knouds_harness.load.collection.metrics import (
    RECENT_S,
    RunMetrics,
    operations_of,
    overall_by_label,
    times,
)
from knouds_harness.load.collection.rows import Waiting
from knouds_harness.load.collection.seconds import Measure, Second, SeriesKey
from knouds_harness.load.leader.workers import Health
from knouds_harness.load.options import LoadOptions
from knouds_harness.measures.delay import Delay, OkTimes, remedy
from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.measures.objectives import Objective, describe, is_least, judge_objectives, milliseconds
from knouds_harness.runs.load_results import Doubt, JudgedObjective, LoadResults, LoadVerdict, Validity
from knouds_harness.runs.operation_load import (
    TIME,
    OperationLoad,
    RequestStatus,
    backlog_of,
    describe_backlog,
    totals_of,
)

MOST_DROPPED_SHARE: Final = 0.001
MOST_UNSENT_SHARE: Final = 0.01
MOST_CPU_SHARE: Final = 0.95
_SLOWER: Final = 2.0
_LEAST_AT_FIRST: Final = 3
_TOLD: Final = ("dropped", "cpu_share", "stalled_s", "own_s", "queued_s", "early_s")
_NOTHING_ENDED: Final = "No request ended after the warm-up, so nothing was measured."


def judge_generator(
    health: Health,
    *,
    asked_per_s: float | None,
    achieved_per_s: float,
    accuracy: float,
    ok: Sequence[OkTimes] = (),
    missing: Sequence[str] = (),
    overload: str = "",
) -> Validity:
    """Judge whether the generator kept up, by what its processes told.

    A delay makes no run invalid: it is said of each figure that it may have moved. ``missing`` says why
    figures are incomplete, ``overload`` that the target did not keep up, if it did not.
    """
    delay = Delay(health.loop_lag)
    judged = Validity(
        is_valid=True,
        reasons=(),
        asked_per_s=asked_per_s,
        achieved_per_s=achieved_per_s,
        arrivals=health.due,
        unsent=health.due - health.handed - health.dropped,
        lateness=times(health.lateness),
        loop_lag=times(health.loop_lag),
        accuracy=accuracy,
        delayed=tuple(chain.from_iterable(delay.figures_moved(each, accuracy=accuracy) for each in ok)),
        **{each: getattr(health, each) for each in _TOLD},
    )
    longest_ms = max((each.service.max_s * 1e3 for each in ok), default=0.0)
    found = [*((Doubt.MISSING, reason) for reason in missing), *_reasons(judged, longest_ms, overload)]
    return replace(
        judged,
        is_valid=not found,
        reasons=tuple(reason for _, reason in found),
        doubts=tuple(doubt for doubt, _ in found),
    )


def _reasons(judged: Validity, longest_ms: float, overload: str) -> Iterator[tuple[Doubt, str]]:
    if not judged.achieved_per_s:
        yield Doubt.MISSING, "Nothing was sent after the warm-up."
    if judged.dropped > MOST_DROPPED_SHARE * judged.arrivals:
        unsent = f"{judged.dropped} of {judged.arrivals} tasks were not sent, as all users were busy"
        if overload:
            yield Doubt.SLOW_TARGET, f"{unsent}. {overload} Ask for a lower rate."
            return
        stalled = (
            f" The longest answer took {longest_ms:,.0f} ms: a target that stalls keeps users busy, too."
        )
        yield Doubt.BUSY, f"{unsent}: ask for more users, or a lower rate.{stalled if longest_ms else ''}"
    elif judged.not_sent > MOST_UNSENT_SHARE * judged.arrivals:
        unsent = f"{judged.not_sent} of {judged.arrivals} tasks were due and not sent in time"
        yield Doubt.UNSENT, f"{unsent}: {remedy(judged) or 'try again, or use more processes'}."
    if judged.asked_per_s is None and judged.cpu_share > MOST_CPU_SHARE:
        # At a rate, only a process that sends less, or reads late, moves a figure.
        yield (
            Doubt.UNSENT,
            f"A process of the generator used {judged.cpu_share:.0%} of its core: use more processes.",
        )


def with_doubts(
    objectives: Iterable[JudgedObjective],
    validity: Validity,
    *,
    ok: Iterable[OkTimes],
    delay: Delay,
    sent_per_s: Mapping[str, float],
) -> tuple[JudgedObjective, ...]:
    """Add to each missed objective why the generator may be the cause, if it may.

    ``sent_per_s`` are the requests of each operation per second: a throughput below is the target's.
    """
    times_by_operation = {each.operation: each for each in ok}

    def doubt(each: JudgedObjective) -> str:
        is_sent = sent_per_s.get(each.operation, 0.0) >= each.bound
        if each.is_met or (each.measure == "throughput_per_s" and is_sent):
            return ""
        return _doubt(each, validity, times_by_operation.get(each.operation), delay)

    return tuple(replace(each, doubt=doubt(each)) for each in objectives)


def _doubt(missed: JudgedObjective, validity: Validity, ok: OkTimes | None, delay: Delay) -> str:
    """Say why the generator may be the cause; empty if it cannot be.

    Too little load makes no response slower, and a delay of the generator makes no request fail.
    """
    measure = missed.measure.removeprefix("service_")
    is_time = measure.endswith("_ms")
    for doubt, reason in zip(validity.doubts, validity.reasons, strict=True):
        is_rate = missed.observed is None or is_least(missed)
        is_of_rates = doubt not in {Doubt.DELAY, Doubt.SLOW_TARGET}
        if (is_rate and is_of_rates) or (is_time and doubt is Doubt.MISSING):
            return reason
    if ok is None or not is_time or not ok.service.counts:
        return ""
    (least_ms,) = delay.least_ms(ok.service, measure)
    if least_ms > missed.bound:
        return ""
    return f"without the generator's own delay at least {least_ms:.1f} ms"


def validity_of(
    options: LoadOptions,
    metrics: RunMetrics,
    health: Health,
    measured_s: float,
    *,
    ok: Sequence[OkTimes],
    missing: Sequence[str],
    total: OperationLoad,
) -> Validity:
    schedule, from_s = options.schedule, metrics.measured_from_s
    asked_per_s, overload = None, ""
    ended = achieved = total.requests
    sent_s = measured_s
    if schedule and measured_s:
        backlog = backlog_of(total, warm_up_s=options.warm_up_s)
        slower = describe_slowdown(metrics.at_first, metrics.measured, health)
        overload = describe_backlog(total, backlog) if backlog else slower
        asked_per_s = schedule.shape.area(from_s, from_s + measured_s) / measured_s
        achieved = health.handed
        sent_s = min(metrics.elapsed_s, schedule.shape.duration_s) - from_s  # tasks are told at once
    return judge_generator(
        health,
        asked_per_s=asked_per_s,
        achieved_per_s=achieved / sent_s if sent_s else 0.0,
        accuracy=options.accuracy,
        ok=ok,
        missing=missing if ended or not achieved else (*missing, _NOTHING_ENDED),
        overload=overload,
    )


def describe_slowdown(at_first: Histogram, counted: Second, health: Health) -> str:
    """Say that requests take clearly longer than while most users were idle; empty if they do not."""
    taken = merged(each for series, each in counted.histograms.items() if series.measure == Measure.RESPONSE)
    for each in health.waiting:
        taken.record(each.waited_s, each.requests)
    (now_ms,) = Delay(health.loop_lag).least_ms(taken, "p50_ms")
    before_ms = at_first.percentile_s(50) * 1e3
    if len(at_first) < _LEAST_AT_FIRST or now_ms <= _SLOWER * before_ms:
        return ""
    return (
        f"The target is slow: half of the requests take over {milliseconds(now_ms)}, and at first took "
        f"{milliseconds(before_ms)}."
    )


def missed_bound(
    bounds: Sequence[Objective], metrics: RunMetrics, shape: Shape, *, waiting: Sequence[Waiting] = ()
) -> JudgedObjective | None:
    """Return the first ``--abort-on`` bound that is missed over the last ten seconds; None if none is.

    Before ten seconds were measured, one is missed if it will be even if all that is still due in them is
    answered at once and ok: ``shape`` says how much that is. For times, requests in flight count, too: each
    takes at least as long as it has been ``waiting``. Those that were late ten seconds ago are left out: of a
    few slow requests, more are in flight than end in that time.
    """
    measured_s = metrics.elapsed_s - metrics.measured_from_s
    for bound in bounds:
        until_s = min(bound.bound / 1e3 + RECENT_S, measured_s) if bound.measure.endswith("_ms") else 0.0
        recent = [each for each in waiting if each.waited_s <= until_s]
        if missed := _first_missed(bound, metrics, shape, recent):
            return missed
    return None


def _first_missed(
    bound: Objective, metrics: RunMetrics, shape: Shape, waiting: Sequence[Waiting]
) -> JudgedObjective | None:
    over_s = metrics.whole_seconds
    counted = Second(unix_s=0)
    counted.add(metrics.recent(RECENT_S) if over_s >= RECENT_S else metrics.measured)
    for each in waiting:
        _add(counted, each.name, Measure.RESPONSE, each.waited_s, each.requests)
    if over_s >= RECENT_S:
        return _missed(bound, metrics, counted, RECENT_S)
    from_s = metrics.measured_from_s
    # The newest second may have only begun, so of it only the requests count and not the time.
    until_now = shape.area(from_s, from_s + over_s - 1)
    if is_least(bound) or not until_now:
        return None
    as_long = shape.area(from_s, from_s + RECENT_S) / until_now
    is_sure = _missed(bound, metrics, _at_best(counted, as_long), RECENT_S)
    return _missed(bound, metrics, counted, over_s) if is_sure else None


def _missed(bound: Objective, metrics: RunMetrics, counted: Second, over_s: int) -> JudgedObjective | None:
    operations = operations_of(counted, over_s)
    totals = totals_of(operations, times(counted.ok()), overall_by_label(counted))
    custom = metrics.custom_metrics(counted, over_s)
    judged = judge_objectives([bound], [*operations, *totals, *custom])
    missed = (each for each in judged if not each.is_met and each.observed is not None)
    return next((replace(each, ended_run=True, over_s=over_s) for each in missed), None)


def _at_best(measured: Second, as_long: float) -> Second:
    """Add what is still due if the load goes on so many times as long, as ok and answered at once.

    How many requests come is known only so far; four standard deviations more are added.
    """
    best, counts = Second(unix_s=0), Counter[tuple[str, str]]()
    best.add(measured)
    for series, histogram in measured.histograms.items():
        if series.measure in {Measure.RESPONSE, TIME}:
            counts[series.operation, series.measure] += len(histogram)
    for (name, measure), count in counts.items():
        more = math.ceil((count + 4 * math.sqrt(count)) * as_long) - count
        _add(best, name, measure, 0.0, more)
    return best


def _add(counted: Second, name: str, measure: str, took_s: float, count: int) -> None:
    """Count requests as ok."""
    for each in (measure, Measure.SERVICE):
        series = SeriesKey(name, RequestStatus.OK, each)
        if each == measure or series in counted.histograms:
            counted.histograms.setdefault(series, Histogram()).record(took_s, count)


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """Return the exit code of a run for which ``stop`` set none."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    if results.verdict is LoadVerdict.INVALID:
        return ExitCode.INVALID_MEASUREMENT
    is_kept = results.verdict in {LoadVerdict.MET, LoadVerdict.MEASURED}
    return ExitCode.KEPT if is_kept else ExitCode.BREACH


def exit_summary(results: LoadResults) -> Iterator[str]:
    """Yield what plain Locust does not print at the end, as lines for a terminal; none if all is well."""
    yield from results.note.splitlines()
    for each in results.never_ok:
        yield f"no request succeeded: {each.operation}, of {each.requests} requests"
    for each in results.mostly_failed:
        yield f"most requests failed: {each.operation}, {each.error_rate:.0%} of {each.requests}"
    for objective in results.objectives:
        if not objective.is_met and describe(objective) not in results.note:
            yield f"objective missed: {describe(objective)}"
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
