"""A point of a capacity search counts against the target only if the target was the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from load_records import load_results, missed, operation, validity

from knouds_harness.load.capacity import judge_point
from knouds_harness.load.capacity_search import SearchEnded
from knouds_harness.runs.load_results import Doubt
from knouds_harness.runs.operation_load import TaskError

DROPPED = validity(
    is_valid=False, reasons=("60 of 100 tasks were not sent",), doubts=(Doubt.BUSY,), dropped=60
)


LATE = validity(is_valid=False, reasons=("late",), doubts=(Doubt.DELAY,))
ABORTED = replace(missed("requests_per_s"), ended_run=True)
NOTE = "Ended early: whoami requests_per_s was 9 over ten seconds."
SLOW = replace(DROPPED, doubts=(Doubt.SLOW_TARGET,))
OF_THE_TARGET = {
    "whoami p99 9.00 ms, at most 5.00 ms": load_results(objectives=(missed(),)),
    "30 of 100 requests were throttled (429): the keys' own rate limit": load_results(
        operations=(operation(throttled=30),)
    ),
    "not one of 100 requests of runModel succeeded": load_results(
        operations=(operation(), operation("runModel", failed=100))
    ),
    NOTE: load_results(objectives=(ABORTED,), note=f"{NOTE}\nMore."),
    "60 of 100 tasks were not sent": load_results(validity=SLOW),
}


def invalid(doubt):
    return load_results(validity=validity(is_valid=False, reasons=(doubt.name,), doubts=(doubt,)))


OF_THE_GENERATOR = {
    "MISSING": invalid(Doubt.MISSING),
    "UNSENT": invalid(Doubt.UNSENT),
    "It may be late.": load_results(objectives=(replace(missed(), doubt="It may be late."),)),
    "60 of 100 tasks were not sent": load_results(validity=DROPPED),
}


@pytest.mark.parametrize(
    "results",
    [
        load_results(),
        load_results(objectives=(missed("requests_per_s", 500, 10.0),)),
        load_results(validity=LATE),
    ],
    ids=["met", "a rate, as a search begins with low ones", "a delay without a missed bound"],
)
def test_run_that_met_its_objectives_is_kept(results):
    point = judge_point(10, results)

    assert (point.is_kept, point.is_generator_limit, point.reason) == (True, False, "")
    assert (point.asked_per_s, point.p50_ms, point.p99_ms) == (10, 2.0, 9.0)


@pytest.mark.parametrize("by_reason", [OF_THE_TARGET, OF_THE_GENERATOR], ids=["target", "generator"])
def test_point_counts_against_its_limit(by_reason):
    for reason, results in by_reason.items():
        point = judge_point(10, results)

        is_generators = by_reason is OF_THE_GENERATOR
        assert (point.is_kept, point.is_generator_limit, point.reason) == (False, is_generators, reason)


def test_exception_in_a_task_ends_the_search():
    raised = TaskError(task="look", error="KeyError: 'a' (x.py:3)", count=1)

    with pytest.raises(SearchEnded, match=r"look raised KeyError.* at 10/s"):
        judge_point(10, load_results(task_errors=(raised,)))


def test_refused_requests_end_the_search():
    with pytest.raises(SearchEnded, match="30 of 100 requests were refused"):
        judge_point(10, load_results(operations=(operation(refused=30),)))


def test_errors_are_counted_over_all_operations():
    point = judge_point(10, load_results(operations=(operation(failed=3, wrong=1), operation("usage"))))

    assert point.error_rate == 4 / 200
