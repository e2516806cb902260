"""The verdict of a run: the target is judged first, and a doubt hides only what it can explain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from load_records import load_results, missed, operation, validity
from load_workload import second_of

from knouds_harness.errors import ExitCode
from knouds_harness.load.arrivals.schedule import Shape
from knouds_harness.load.collection.metrics import RECENT_S, RunMetrics
from knouds_harness.load.collection.rows import Waiting
from knouds_harness.load.leader.validity import exit_code_of, exit_summary, missed_bound
from knouds_harness.measures.objectives import parse_objectives
from knouds_harness.runs.load_results import Doubt, Invariant, JudgedObjective
from knouds_harness.runs.operation_load import TaskError

UNSENT = validity(is_valid=False, reasons=("Too few.",), doubts=(Doubt.UNSENT,))
DELAYED = validity(is_valid=False, reasons=("Too late.",), doubts=(Doubt.DELAY,))
MET = JudgedObjective(operation="whoami", measure="p99_ms", bound=50.0, observed=9.0, is_met=True)
DOUBTED = replace(missed(), doubt="It may be the generator.")
BROKEN = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=1)
KEPT = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=0, excused=1)


CONSTANT = Shape.of("constant", 50.0, 60.0)


def first_miss(bound, seconds, *, warm_up_s=0.0, shape=CONSTANT, waiting=()):
    """Return when a load that began at 100 first missed a bound, and the judged bound; or None."""
    metrics = RunMetrics(warm_up_s=warm_up_s)
    metrics.begin(100)
    for each in seconds:
        metrics.add(each)
        if judged := missed_bound(parse_objectives([bound]), metrics, shape, waiting=waiting):
            return each.unix_s, judged
    return None


def test_miss_over_the_whole_window_is_found():
    at, judged = first_miss("* error_rate < 0.4", [second_of(100 + i, ok=1, failed=1) for i in range(20)])

    assert at == 100 + RECENT_S - 1
    assert (judged.operation, judged.measure, judged.observed) == ("getWhoami", "error_rate", 0.5)


@pytest.mark.parametrize(
    ("bound", "each", "first_s"),
    [
        pytest.param("error_rate < 20%", {"failed": 100}, 3, id="every request fails"),
        pytest.param("* error_rate < 1%", {"failed": 100}, 1, id="far more than the bound"),
        pytest.param("error_rate < 20%", {"ok": 75, "failed": 25}, 9, id="some more"),
        pytest.param("error_rate < 20%", {"ok": 85, "failed": 15}, None, id="fewer"),
        pytest.param("error_rate < 20%", {"failed": 1}, 6, id="few requests"),
        pytest.param("p50 < 100ms", {"ok": 100, "took_s": 3.0}, 6, id="half of all take long"),
        pytest.param("* max < 100ms", {"ok": 100, "took_s": 3.0}, 1, id="the longest is too long"),
        pytest.param("requests_per_s > 200", {"ok": 100}, 9, id="a rate may still rise"),
    ],
)
def test_bound_that_can_only_be_missed_ends_the_run_before_the_window_is_over(bound, each, first_s):
    """Whatever comes in the rest of the ten seconds: as many requests again, all ok and at once."""
    found = first_miss(bound, [second_of(100 + at_s, **each) for at_s in range(30)])

    assert found and found[0] - 100 == first_s if first_s else found is None
    assert found is None or found[1].over_s == first_s + 1


@pytest.mark.parametrize(
    ("bound", "waited_s", "first_s"),
    [
        pytest.param("* p99 < 1s", 1.5, 1, id="longer than the bound"),
        pytest.param("p50 < 1s", 1.5, None, id="too few"),
        pytest.param("p99 < 2s", 1.5, None, id="not long enough yet"),
        pytest.param("p99 < 1s", 12.0, None, id="of few slow ones many are in flight"),
        pytest.param("p99 < 100s", 105.0, 1, id="a long bound"),
        pytest.param("p99 < 100s", 1e10, None, id="since before the load"),
        pytest.param("requests_per_s > 200", 1.5, 9, id="not a time"),
    ],
)
def test_requests_in_flight_are_at_least_as_late_as_they_wait(bound, waited_s, first_s):
    """A target that stops answering ends the run before its requests time out."""
    seconds = [second_of(100 + at_s, ok=100 * (at_s < 3)) for at_s in range(11)]

    found = first_miss(bound, seconds, waiting=[Waiting("getWhoami", waited_s, 150)])

    assert (found and found[0] - 100) == first_s


def test_bound_is_not_missed_while_the_load_rises_and_may_answer_better():
    """Half of the first requests fail; ten times as many are due in the rest of the ten seconds."""
    seconds = [second_of(100 + at_s, ok=10 * at_s, failed=5 * (at_s < 2)) for at_s in range(30)]

    assert first_miss("error_rate < 5%", seconds, shape=Shape.of("ramp", 100.0, 10.0)) is None


def slow(from_s, until_s):
    """A minute of requests, which take long for a part of it."""
    return [second_of(100 + i, ok=5, took_s=3.0 if from_s <= i < until_s else 0.001) for i in range(60)]


@pytest.mark.parametrize(
    ("bound", "seconds", "warm_up_s", "found_s"),
    [
        pytest.param(
            "* error_rate < 0.2",
            [second_of(100 + i, ok=10, failed=10 * (i == 4)) for i in range(30)],
            0,
            (),
            id="a short outage",
        ),
        pytest.param("* p99 < 100ms", slow(0, 20), 20, (), id="slow in the warm-up"),
        pytest.param("* p50 < 100ms", slow(30, 60), 0, range(31, 40), id="slow later"),
        *(
            pytest.param(
                "* requests_per_s > 9",
                [second_of(each, failed=1) for each in range(100, 140, gap)],
                0,
                range(9, 10 + gap),
                id=f"a response each {gap} s",
            )
            for gap in (1, 3)
        ),
    ],
)
def test_window_has_the_last_ten_seconds_after_the_warm_up(bound, seconds, warm_up_s, found_s):
    """However few of them had a response."""
    found = first_miss(bound, seconds, warm_up_s=warm_up_s)

    assert found[0] - 100 in found_s if found else found_s == ()


def test_summary_has_reasons_of_every_kind():
    """Why it ended early, operations that never succeeded, missed objectives, doubts about the generator."""
    results = load_results(
        note="Ended early.",
        operations=(operation("whoami", requests=7, refused=7),),
        validity=validity(is_valid=False, reasons=("Too late.",)),
        objectives=(missed(),),
    )

    assert list(exit_summary(load_results())) == []
    assert list(exit_summary(results)) == [
        "Ended early.",
        "no request succeeded: whoami, of 7 requests",
        "objective missed: whoami p99 9.00 ms, at most 5.00 ms",
        "not a valid measurement: Too late.",
    ]


ENDS = {
    ExitCode.KEPT: {
        "all is well": load_results(),
        "too late, in an older record": load_results(validity=DELAYED),
        "met in spite of a delay": load_results(validity=DELAYED, objectives=(MET,)),
        "most were ok": load_results(operations=(operation(requests=100, failed=49),)),
        "excused": load_results(invariants=(KEPT,)),
        "something was ok": load_results(operations=(operation(requests=7, refused=6),)),
    },
    ExitCode.INVALID_MEASUREMENT: {
        "too few": load_results(validity=UNSENT),
        "missed, and that may be the generator": load_results(objectives=(DOUBTED,)),
        "met with less load than was asked for": load_results(validity=UNSENT, objectives=(MET,)),
    },
    ExitCode.BREACH: {
        "missed": load_results(objectives=(missed(),)),
        "missed, whatever the generator did": load_results(validity=UNSENT, objectives=(missed(),)),
        "one of two misses is the target's": load_results(
            validity=DELAYED, objectives=(DOUBTED, missed("error_rate", 0.01, 0.5))
        ),
        "every second request failed": load_results(
            operations=(operation(requests=100, failed=50),), validity=UNSENT
        ),
        "broken": load_results(invariants=(BROKEN,)),
        "invalid and broken": load_results(validity=UNSENT, invariants=(BROKEN,)),
        "an operation was refused throughout": load_results(
            operations=(operation(), operation("runModel", requests=7, refused=7))
        ),
        "everything was throttled": load_results(
            operations=(operation(requests=7, throttled=7),), validity=UNSENT
        ),
        "a task raised an exception": load_results(
            task_errors=(TaskError(task="look", error="KeyError", count=1),)
        ),
    },
}


@pytest.mark.parametrize(
    ("exit_code", "results"),
    [
        pytest.param(exit_code, results, id=name)
        for exit_code, by_name in ENDS.items()
        for name, results in by_name.items()
    ],
)
def test_exit_code_follows_from_the_figures(exit_code, results):
    """Misses, breaches and missing successes count, unless the generator can be the reason."""
    assert exit_code_of(results, was_interrupted=False) == exit_code


def test_interruption_decides_the_exit_code():
    assert exit_code_of(load_results(objectives=(missed(),)), was_interrupted=True) == ExitCode.INTERRUPTED
