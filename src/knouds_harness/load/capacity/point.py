"""What one short run tells a capacity search of the target at its rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from knouds_harness.load.capacity.search import SearchEnded
from knouds_harness.measures.percentiles import time_ms
from knouds_harness.runs.capacity_results import CapacityPoint
from knouds_harness.runs.load_results import TASK, Doubt, JudgedObjective, LoadResults, OperationLoad

TOLERATED_SHARE: Final = 0.001
"""Share of requests that may be refused, and share that may be throttled."""
SLOWER: Final = 2.0
"""How many times as slow as at its best a target jams that keeps its objectives and has no place left."""


def judge_point(
    rate: float, results: LoadResults, *, earlier: Iterable[CapacityPoint] = (), ending: str = ""
) -> CapacityPoint:
    """Judge one point.

    In the open model tasks are not sent once as many are in flight as there are users. Where the target has
    become twice as slow then as it was at its best, it is the target that does not keep up. Otherwise there
    were too few users for it, and that is the generator's limit, as it is if less was sent than was asked
    for, or if a bound may have been missed for the generator's own delay. A bound on ``requests_per_s``
    counts for nothing in a search over rates.

    Args:
        rate: What was asked for, in arrivals per second.
        results: Of the point.
        earlier: Points before it.
        ending: Why it ended before its time, if it did.

    Raises:
        SearchEnded: A task raised an exception, or requests were refused: it was not the rate.
    """
    for task in results.task_errors:
        raised = task.errors[0].code if task.errors else "an exception"
        raise SearchEnded(f"{task.operation.removeprefix(TASK)} raised {raised} at {rate:g}/s")
    total = results.total
    if total.outcomes["refused"] > TOLERATED_SHARE * total.requests:
        raise SearchEnded(
            f"{total.outcomes['refused']} of {total.requests} requests were refused (402 or 403) "
            f"at {rate:g}/s: no credits are left, or the keys may not do this"
        )
    mean_ms, p50_ms, p95_ms, p99_ms = (
        time_ms(total.response, measure) or 0.0 for measure in ("mean_ms", "p50_ms", "p95_ms", "p99_ms")
    )
    target = ending or _targets_fault(results, total)
    generator = "" if target else _generators_fault(results)
    if not generator and not target and Doubt.BUSY in results.validity.doubts:
        best_ms = min((each.mean_ms for each in earlier if each.is_kept), default=0.0)
        if best_ms and mean_ms > SLOWER * best_ms:
            target = (
                f"{results.plan.users} requests were in flight, and {results.validity.dropped} found no place"
            )
        else:
            generator = results.validity.reasons[0]
    return CapacityPoint(
        asked_per_s=rate,
        achieved_per_s=results.validity.achieved_per_s,
        mean_ms=mean_ms,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        error_rate=total.error_rate,
        is_kept=not generator and not target,
        reason=generator or target,
        is_generator_limit=bool(generator),
    )


def _generators_fault(results: LoadResults) -> str:
    """Why it may be the generator, by other signs than users who were all busy; empty if it was not.

    A delay of the generator counts only if the target missed a bound that it may explain.
    """
    doubts = [each.doubt for each in _missed(results)]
    for doubt, reason in zip(results.validity.doubts, results.validity.reasons, strict=True):
        if doubt in {Doubt.MISSING, Doubt.UNSENT}:
            doubts.append(reason)
    return doubts[0] if doubts else ""


def _missed(results: LoadResults) -> list[JudgedObjective]:
    return [each for each in results.objectives if not each.is_met and each.measure != "requests_per_s"]


def _targets_fault(results: LoadResults, total: OperationLoad) -> str:
    """Why the target did not carry the rate; empty if it did."""
    missed = [each for each in _missed(results) if not each.doubt]
    broken = [each for each in results.invariants if each.broken]
    if results.never_kept:
        worst = results.never_kept[0]
        return f"not one of {worst.requests} requests of {worst.operation} succeeded"
    if missed:
        first = missed[0]
        observed = "not measured" if first.observed is None else f"{first.observed:.4g}"
        more = f", and {len(missed) - 1} more" if len(missed) > 1 else ""
        return f"{first.operation} {first.measure} {observed}, at most {first.bound:g}{more}"
    if broken:
        return f"{broken[0].says} {broken[0].broken} of {broken[0].seen} times not"
    throttled = total.outcomes["throttled"]
    if throttled > TOLERATED_SHARE * total.requests:
        return f"{throttled} of {total.requests} requests were throttled (429): the keys' own rate limit"
    return ""
