"""A point of a capacity search counts against the target only if the target was the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from load_records import load_results, missed, operation, times, validity

from knouds_harness.load.capacity import judge_point
from knouds_harness.load.capacity_search import SearchEnded
from knouds_harness.runs.load_results import Doubt
from knouds_harness.runs.operation_load import TaskError

DROPPED = validity(
    is_valid=False, reasons=("60 of 100 tasks were not sent",), doubts=(Doubt.BUSY,), dropped=60
)


def test_run_that_met_its_objectives_is_kept():
    point = judge_point(10, load_results())

    assert (point.is_kept, point.is_generator_limit, point.reason) == (True, False, "")
    assert (point.asked_per_s, point.p50_ms, point.p99_ms) == (10, 2.0, 9.0)


def test_missed_objective_counts_against_the_target():
    point = judge_point(10, load_results(objectives=(missed(),)))

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == "whoami p99 9.00 ms, at most 5.00 ms"


def test_missed_throughput_does_not_count():
    """A search begins with low rates, at which any bound on requests per second is missed."""
    assert judge_point(10, load_results(objectives=(missed("requests_per_s", 500, 10.0),))).is_kept


@pytest.mark.parametrize("doubt", [Doubt.MISSING, Doubt.UNSENT])
def test_too_little_load_is_the_generators_limit(doubt):
    point = judge_point(10, load_results(validity=validity(is_valid=False, reasons=("no",), doubts=(doubt,))))

    assert (point.is_kept, point.is_generator_limit, point.reason) == (False, True, "no")


def test_doubtful_miss_counts_as_the_generators_limit():
    """The generator's own delay may have caused the miss."""
    point = judge_point(10, load_results(objectives=(replace(missed(), doubt="It may be late."),)))

    assert (point.is_kept, point.is_generator_limit, point.reason) == (False, True, "It may be late.")


def test_delay_without_a_missed_bound_is_not_a_limit():
    late = validity(is_valid=False, reasons=("late",), doubts=(Doubt.DELAY,))

    assert judge_point(10, load_results(validity=late)).is_kept


def test_dropped_arrivals_count_against_a_target_that_got_slower():
    """It takes more than twice its best time."""
    earlier = [judge_point(5, load_results(overall=times(2.0)))]

    point = judge_point(10, load_results(validity=DROPPED, overall=times(40.0)), earlier=earlier)

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == "all 1000 users were busy, and 60 tasks were dropped"


def test_dropped_arrivals_at_a_fast_target_are_the_generators_limit():
    """Responses take as long as before: there were too few users."""
    earlier = [judge_point(5, load_results(overall=times(2.0)))]

    assert judge_point(10, load_results(validity=DROPPED), earlier=earlier).is_generator_limit


def test_rate_with_throttled_requests_is_not_kept():
    """The reason says that the limit of the keys was reached."""
    point = judge_point(10, load_results(operations=(operation(throttled=30),)))

    assert not point.is_kept
    assert "30 of 100 requests were throttled" in point.reason


def test_rate_is_not_kept_if_an_operation_never_succeeded():
    point = judge_point(10, load_results(operations=(operation(), operation("runModel", failed=100))))

    assert not point.is_kept
    assert point.reason == "not one of 100 requests of runModel succeeded"


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


def test_point_ended_by_abort_on_counts_against_the_target():
    """The rate was not kept, whatever the bound was."""
    bound = replace(missed("requests_per_s"), ended_run=True)
    note = "Ended early: whoami requests_per_s was 9 over ten seconds.\nMore."
    point = judge_point(10, load_results(objectives=(bound,), note=note))

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == note.splitlines()[0]
