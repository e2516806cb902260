"""A point of a capacity search speaks against the target only where it was the target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from load_records import load_results, missed, operation, times, validity

from knouds_harness.load.capacity.run import judge_point
from knouds_harness.load.capacity.search import SearchEnded
from knouds_harness.runs.load_results import Doubt

DROPPED = validity(
    is_valid=False, reasons=("60 of 100 tasks were not sent",), doubts=(Doubt.BUSY,), dropped=60
)


def test_run_that_met_its_objectives_is_kept():
    point = judge_point(10, load_results())

    assert (point.is_kept, point.is_generator_limit, point.reason) == (True, False, "")
    assert (point.asked_per_s, point.p50_ms, point.p99_ms) == (10, 2.0, 9.0)


def test_missed_objective_is_the_targets():
    point = judge_point(10, load_results(objectives=(missed(),)))

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == "whoami p99 9.00 ms, at most 5.00 ms"


def test_missed_throughput_does_not_count():
    """A bound on requests per second is missed at each low rate, and says nothing in a search."""
    assert judge_point(10, load_results(objectives=(missed("requests_per_s", 500, 10.0),))).is_kept


@pytest.mark.parametrize("doubt", [Doubt.MISSING, Doubt.UNSENT])
def test_less_load_than_asked_for_is_the_generators_limit(doubt):
    point = judge_point(10, load_results(validity=validity(is_valid=False, reasons=("no",), doubts=(doubt,))))

    assert (point.is_kept, point.is_generator_limit, point.reason) == (False, True, "no")


def test_miss_that_may_be_the_generators_is_never_held_against_the_target():
    """What the generator's own delay may have missed is its own fault."""
    point = judge_point(10, load_results(objectives=(replace(missed(), doubt="It may be late."),)))

    assert (point.is_kept, point.is_generator_limit, point.reason) == (False, True, "It may be late.")


def test_delay_that_missed_no_bound_is_no_limit():
    late = validity(is_valid=False, reasons=("late",), doubts=(Doubt.DELAY,))

    assert judge_point(10, load_results(validity=late)).is_kept


def test_target_that_has_become_slow_and_full_is_the_limit():
    """Arrivals are dropped by the target's fault where it takes more than twice its best time."""
    earlier = [judge_point(5, load_results(overall=times(2.0)))]

    point = judge_point(10, load_results(validity=DROPPED, overall=times(40.0)), earlier=earlier)

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == "all 1000 users were busy, and 60 tasks were dropped"


def test_too_few_users_for_a_target_as_fast_as_ever_are_the_generators_limit():
    """Arrivals are dropped by the generator's fault where answers take as long as before."""
    earlier = [judge_point(5, load_results(overall=times(2.0)))]

    assert judge_point(10, load_results(validity=DROPPED), earlier=earlier).is_generator_limit


def test_throttled_requests_do_not_pass_for_capacity():
    """Where the keys' own limit was reached, the rate is not kept, and the reason says so."""
    point = judge_point(10, load_results(operations=(operation(throttled=30),)))

    assert not point.is_kept
    assert "30 of 100 requests were throttled" in point.reason


def test_operation_of_which_nothing_was_kept_misses_the_rate():
    point = judge_point(10, load_results(operations=(operation(), operation("runModel", failed=100))))

    assert not point.is_kept
    assert point.reason == "not one of 100 requests of runModel succeeded"


def test_exception_in_a_task_ends_the_search():
    with pytest.raises(SearchEnded, match="look raised an exception at 10/s"):
        judge_point(10, load_results(operations=(operation(), operation("task look", failed=1))))


def test_refused_requests_end_the_search():
    with pytest.raises(SearchEnded, match="30 of 100 requests were refused"):
        judge_point(10, load_results(operations=(operation(refused=30),)))


def test_errors_are_counted_over_all_operations():
    point = judge_point(10, load_results(operations=(operation(failed=3, wrong=1), operation("usage"))))

    assert point.error_rate == 4 / 200


def test_point_that_was_ended_early_is_the_targets():
    """What ``--abort-on`` ended has not kept its rate, whatever bound that was."""
    bound = replace(missed("requests_per_s"), ended_run=True)
    note = "Ended early: whoami requests_per_s was 9 over ten seconds.\nMore."
    point = judge_point(10, load_results(objectives=(bound,), note=note))

    assert (point.is_kept, point.is_generator_limit) == (False, False)
    assert point.reason == note.splitlines()[0]
