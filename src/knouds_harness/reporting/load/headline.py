"""The verdict on a load run in one line, the same words in every report."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from knouds_harness.measures.objectives import describe, figure_text, milliseconds
from knouds_harness.printable import counted, first_few
from knouds_harness.reporting.load.columns import point_times
from knouds_harness.reporting.report import Headline, Tone
from knouds_harness.runs.findings import MOST_OUTSIDE, RunOutcome
from knouds_harness.runs.load_results import (
    Capacity,
    CapacityPoint,
    Doubt,
    Invariant,
    LoadResults,
    LoadVerdict,
)
from knouds_harness.runs.operation_load import (
    OUTSIDE,
    RequestStatus,
    describe_backlog,
    percentile_measure,
    time_ms,
)
from knouds_harness.runs.record import RunRecord

_NO_OBJECTIVES: Final = (
    "No objectives were set: --objective '* p99 < 1s' sets one, --objectives shipped sets the harness's."
)
_MOST_SPANS: Final = 4
STATE_LABELS: Final = {
    "broken": "broken",
    "excused": "assumed or waived",
    "kept": "kept",
    "untested": "untested",
}


def load_headline(record: RunRecord, load: LoadResults) -> Headline:
    """Summarize a load run: the target is judged first, then the generator."""
    figures = _figures(load)
    if load.capacity:
        tone, title, detail = describe_capacity(load.capacity)
    elif record.outcome is RunOutcome.STOPPED:
        reason = (record.note or "no reason was recorded").splitlines()[0]
        tone, title, detail = "warn", "Stopped early", f"{reason.rstrip('.')}. {figures}"
    elif record.outcome is RunOutcome.INTERRUPTED:
        tone, title, detail = "warn", "Interrupted", figures
    else:
        tone, title, detail = _verdict(load, figures)
        if outside := _outside(load):
            is_broken_too = load.verdict is not LoadVerdict.BROKEN or broken_by_the_api(load)
            verdict = f"{title}: {detail}" if is_broken_too else figures
            title, detail = f"{outside[0]} answers never came from the API", f"{outside[1]}. {verdict}"
    return Headline(tone=tone, title=title, detail=detail)


def first_figures(load: LoadResults) -> Iterator[tuple[str, str, str, Tone]]:
    total = load.total
    yield f"{total.per_s:,.1f}", "requests/s", "", "note"
    if total.lags:
        yield f"{total.throughput_per_s:,.1f}", "answers/s", "", "warn"
    for percent in ("50", "95", "99"):
        yield milliseconds(time_ms(total.response, percentile_measure(percent))), f"p{percent}", "", "note"
    yield figure_text("error_rate", total.error_rate), "errors", "", "bad" if total.error_rate else "plain"
    throttled = total.by_status[RequestStatus.THROTTLED]
    yield f"{throttled:,}", "throttled", "", "warn" if throttled else "plain"
    yield f"{load.cost_credits:,.10g}", "credits at most", "", "note" if load.cost_credits else "plain"


def nothing_measured(load: LoadResults) -> tuple[str, str] | None:
    """Return title and reason if tasks raised, or an operation mostly failed or never succeeded."""
    if load.task_errors:
        first, *others = load.task_errors
        times = f"{counted(first.count, 'time')}{_and_more(len(others), 'exceptions')}"
        return "A task failed", f"{first.task} raised {first.error}, {times}"
    failing = load.never_ok or load.mostly_failed
    if not failing:
        return None
    worst = max(failing, key=lambda each: each.requests)
    error = next(iter(worst.errors), None)
    errors = " ".join(filter(None, [str(error.status_code or ""), error.code])) if error else "errors"
    requests = f"{worst.requests:,} requests of {worst.operation}"
    why = f"{errors}{_and_more(len(failing) - 1, 'operations')}"
    if not load.never_ok:
        return "Most requests failed", f"{worst.error_rate:.0%} of {requests}: {why}"
    is_all = len(failing) == len(load.operations)
    title = "No request succeeded" if is_all else "An operation never succeeded"
    return title, f"not one of {requests} succeeded: {why}"


def _verdict(load: LoadResults, figures: str) -> tuple[Tone, str, str]:
    missed = [each for each in load.objectives if not each.is_met]
    match load.verdict:
        case LoadVerdict.BROKEN:
            broken = [each.fact for each in load.invariants if each.broken]
            return "bad", "Contract broken under load", f"{', '.join(broken)}. {figures}"
        case LoadVerdict.FAILED:
            title, reason = nothing_measured(load) or ("", "")
            return "bad", title, f"{reason}. {figures}"
        case LoadVerdict.MISSED:
            sure = [each for each in missed if not each.doubt]
            first = describe(sure[0])
            ended = next((each for each in load.note.splitlines() if first in each), first).rstrip(".")
            return "bad", "Objectives missed", f"{ended}{_and_more(len(missed) - 1)}. {figures}"
        case LoadVerdict.INVALID:
            reason = next(iter((*load.validity.reasons, *map(describe, missed))), "")
            is_target = {*load.validity.doubts} == {Doubt.SLOW_TARGET}
            title = "The target did not keep up" if is_target else "Not a valid measurement"
            return "warn", title, f"{reason} {figures}"
        case LoadVerdict.MEASURED:
            return "good", "Measured", f"{figures} {_NO_OBJECTIVES}"
        case LoadVerdict.MET:
            return "good", "Objectives met", figures


def _outside(load: LoadResults) -> tuple[str, str] | None:
    """Return how many answers came from something in front of the API, and what that was.

    None if these are few and not all that was wrong.
    """
    counts = _counts_by_cause(load)
    is_all = any(each.broken for each in load.invariants) and not broken_by_the_api(load)
    if not counts or not (is_all or counts.total() > MOST_OUTSIDE * load.total.requests):
        return None
    causes = ", ".join(f"{cause} {counted(count, 'time')}" for cause, count in counts.items())
    return f"{counts.total():,} of {load.total.requests:,}", causes


def _counts_by_cause(load: LoadResults) -> Counter[str]:
    counts = Counter[str]()
    for each in (error for operation in load.operations for error in operation.errors):
        if each.code.startswith(OUTSIDE):
            counts[f"{each.status_code} {each.code.removeprefix(OUTSIDE)}"] += each.count
    return counts


def broken_by_the_api(load: LoadResults) -> list[Invariant]:
    """Return the broken promises, but for those that something in front of the API broke."""
    causes = _counts_by_cause(load)
    broken = [each for each in load.invariants if each.broken]
    return [each for each in broken if not any(cause in each.example for cause in causes)]


def describe_steadiness(load: LoadResults) -> str:
    """Say since when a run was steady, and in which seconds it was not; empty if nothing was judged."""
    if load.is_steady is None:
        return ""
    if load.steady_from_s is None:
        return "Throughput or times did not become steady: the figures mix different states of the target."
    from_s, warm_up_s = load.steady_from_s, load.plan.warm_up_s
    later = (
        f" The figures begin at {warm_up_s:g}: --warm-up {from_s:g} would leave out what came before."
        if from_s > warm_up_s
        else ""
    )
    spans: list[list[int]] = []
    for at_s in load.slow_seconds:
        if at_s < from_s:
            continue
        if spans and spans[-1][-1] == at_s - 1:
            spans[-1].append(at_s)
        else:
            spans.append([at_s])
    if not spans:
        return f"Steady from second {from_s:g} on.{later}"
    named = [f"{span[0]} to {span[-1]}" if span[1:] else f"{span[0]}" for span in spans]
    return (
        f"Steady from second {from_s:g} on, but for {counted(sum(map(len, spans)), 'second')} in which "
        f"answers took over 5 times as long as usual, or none was ok: {first_few(named, _MOST_SPANS)}.{later}"
    )


def describe_broken(invariant: Invariant) -> str:
    times = f"{invariant.broken:,} of {invariant.seen:,} times"
    return f"{invariant.fact} was broken {times}. {invariant.says} Such as {invariant.example}"


def count_states(load: LoadResults) -> str:
    counts = Counter[str](each.state for each in load.invariants)
    return ", ".join(f"{counts[state]} {label}" for state, label in STATE_LABELS.items() if counts[state])


def _and_more(count: int, what: str = "") -> str:
    return f", and {count} more{what and f' {what}'}" if count else ""


def _figures(load: LoadResults) -> str:
    total = load.total
    requests, throttled = total.requests, total.by_status[RequestStatus.THROTTLED]
    asked = load.validity.asked_per_s
    achieved = f"{load.validity.achieved_per_s:,.1f}"
    rate = f", {achieved} tasks/s of {asked:,.1f} asked for" if asked else f" at {achieved}/s"
    errors = f"{total.error_rate:.2%} errors" if requests else "no errors"
    counts = f"{requests:,} requests{rate}, {errors}{f', {throttled:,} throttled' if throttled else ''}."
    return f"{counts} {describe_backlog(total, load.backlog)}" if load.backlog else counts


def verdict_on(point: CapacityPoint) -> tuple[str, Tone]:
    if point.is_kept:
        return "met", "good"
    return ("generator", "warn") if point.is_generator_limit else ("missed", "bad")


def describe_point(point: CapacityPoint) -> str:
    verdict, _ = verdict_on(point)
    reason = f"  {point.reason}" if point.reason else ""
    times = ", ".join(f"{heading.lower()} {time}" for heading, time in point_times(point).items())
    return f"{point.asked_per_s:>9,.5g}/s  {verdict:9}  {times}{reason}"


def describe_capacity(capacity: Capacity) -> tuple[Tone, str, str]:
    highest, lowest = capacity.highest_per_s, capacity.lowest_failing_per_s
    at_lowest = [point for point in capacity.points if point.asked_per_s == lowest and point.reason]
    against = at_lowest[-1].reason.rstrip(".") if at_lowest else ""
    ended = f" The search ended early: {capacity.limit}." if capacity.limit else ""
    if highest is None:
        if capacity.is_generator_limit:
            return "warn", "The generator was the limit", f"{against}. Nothing is known of the target."
        if lowest is None:
            return "warn", "Nothing was found", ended.strip()
        return "bad", "No rate met the objectives", f"{lowest:,.5g}/s did not: {against}.{ended}"
    kept = (
        f"It met the objectives in {capacity.kept_points} of {capacity.tried_points} points: with 95 % "
        f"confidence at least {100 * capacity.kept_share_at_least:.0f} % of all such points do."
    )
    knee = capacity.knee_per_s
    bend = "" if knee is None else f" From {knee:,.5g}/s on response times rise faster than throughput."
    if lowest is None:
        tone: Tone = "good" if capacity.limit.startswith("no rate above") else "warn"
        return tone, f"Capacity at least {highest:,.5g}/s", f"{kept}{bend}{ended}"
    if capacity.is_generator_limit:
        limit = f"At {lowest:,.5g}/s the generator was the limit, not the target: {against}."
        return "warn", f"Capacity at least {highest:,.5g}/s", f"{limit} {kept}{bend}{ended}"
    tone = "warn" if ended else "good"
    return tone, f"Capacity {highest:,.5g}/s", f"{kept} {lowest:,.5g}/s did not: {against}.{bend}{ended}"
