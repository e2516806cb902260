"""What a run comes to: the generator is judged before the target, and the target before its objectives."""

from __future__ import annotations

from typing import Any

import pytest
from load_records import load_results, missed, operation, validity

from knouds_harness.errors import ExitCode
from knouds_harness.load.collection.metrics import RECENT_S, RunMetrics
from knouds_harness.load.collection.second import Second, SeriesKey
from knouds_harness.load.generator.validity import judge_generator
from knouds_harness.load.generator.verdict import exit_code_of, exit_summary, missed_bound
from knouds_harness.measures.histograms import Histogram
from knouds_harness.measures.objectives import parse_bounds
from knouds_harness.runs.load_results import TASK, Invariant, RequestStatus, Times

INVALID = validity(is_valid=False, reasons=("Too late.",))
BROKEN = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=1)
KEPT = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=0, excused=1)


def times(p99_ms: float) -> Times:
    """A distribution with one telling percentile."""
    return Times(count=1000, mean_ms=0.1, min_ms=0.0, max_ms=p99_ms, percentiles={"50": 0.1, "99": p99_ms})


SOUND: dict[str, Any] = {
    "asked_per_s": 500.0,
    "achieved_per_s": 499.9,
    "arrivals": 15_000,
    "dropped": 0,
    "lateness": times(0.4),
    "loop_lag": times(1.0),
    "cpu_share": 0.4,
}


def test_generator_that_kept_up_is_valid():
    """Nothing is said against a generator that did what it was asked to."""
    judged = judge_generator(**SOUND)

    assert (judged.is_valid, judged.reasons) == (True, ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"achieved_per_s": 0.0, "asked_per_s": None}, "Nothing was sent"),
        ({"dropped": 16}, "16 of 15000 arrivals found all users busy"),
        ({"achieved_per_s": 480.0}, "480 requests per second were sent of 500"),
        ({"lateness": times(5.1)}, "5.1 ms late"),
        ({"loop_lag": times(21.0)}, "event loop was 21 ms late"),
        ({"cpu_share": 0.97}, "97% of its core"),
    ],
)
def test_generator_that_was_the_limit_is_not(change, reason):
    """Each way of not keeping up is a reason of its own."""
    judged = judge_generator(**(SOUND | change))

    assert not judged.is_valid
    assert [text for text in judged.reasons if reason in text] == list(judged.reasons)


def test_closed_model_has_no_rate_to_miss():
    """Where no rate was asked for, none can be missed."""
    assert judge_generator(**(SOUND | {"asked_per_s": None, "arrivals": 0})).is_valid


@pytest.mark.parametrize(("count", "is_valid"), [(70, True), (199, True), (200, False)])
def test_single_late_beat_of_few_condemns_no_run(count, is_valid):
    """Under two hundred beats the 99th percentile is the latest or next to it: then one in twenty counts."""
    lag = Times(
        count=count,
        mean_ms=0.5,
        min_ms=0.1,
        max_ms=33.0,
        percentiles={"50": 0.4, "90": 0.5, "95": 0.6, "99": 33.0},
    )

    assert judge_generator(**(SOUND | {"loop_lag": lag})).is_valid is is_valid


def second(unix_s, *, kept=0, failed=0, took_s=0.001):
    """What ended within a second."""
    histograms = {}
    for status, count in ((RequestStatus.KEPT, kept), (RequestStatus.FAILED, failed)):
        if count:
            histograms[SeriesKey("getWhoami", status)] = histogram = Histogram()
            histogram.record(took_s, count)
    return Second(unix_s=unix_s, histograms=histograms)


def first_miss(bound, seconds, *, warm_up_s=0.0):
    """When a bound was missed first in a load that began at 100, and what was missed; or None."""
    metrics = RunMetrics(warm_up_s=warm_up_s)
    metrics.begin(100)
    for each in seconds:
        metrics.add(each)
        if judged := missed_bound(parse_bounds([bound]), metrics):
            return each.unix_s, judged
    return None


def test_miss_over_the_window_is_told():
    """With what was observed."""
    at, judged = first_miss("error_rate=0.2", [second(100 + i, kept=1, failed=1) for i in range(20)])

    assert at == 100 + RECENT_S - 1
    assert (judged.operation, judged.measure, judged.observed) == ("getWhoami", "error_rate", 0.5)


def test_short_trouble_is_borne():
    """One bad second among good ones is no reason to end."""
    seconds = [second(100 + i, kept=10, failed=10 * (i == 4)) for i in range(30)]

    assert first_miss("error_rate=0.2", seconds) is None


def test_warm_up_does_not_count():
    """A slow beginning that is left out of the metrics ends nothing either."""
    seconds = [second(100 + i, kept=5, took_s=3.0 if i < 20 else 0.001) for i in range(60)]

    assert first_miss("p99_ms=100", seconds, warm_up_s=20) is None


def test_trouble_that_begins_late_is_told():
    """The window moves along."""
    at, _ = first_miss(
        "p50_ms=100", [second(100 + i, kept=5, took_s=3.0 if i >= 30 else 0.001) for i in range(60)]
    )

    assert 130 < at < 130 + RECENT_S


@pytest.mark.parametrize("gap", [1, 3])
def test_seconds_without_an_answer_are_part_of_the_window(gap):
    """Ten seconds are ten seconds, however few of them brought something."""
    at, _ = first_miss("error_rate=0", [second(unix_s, failed=1) for unix_s in range(100, 140, gap)])

    assert at - 100 in range(RECENT_S - 1, RECENT_S + gap)


def test_nothing_is_said_of_a_run_in_which_all_is_well():
    """Locust's own summary is enough."""
    assert list(exit_summary(load_results())) == []


def test_reasons_of_every_kind_are_said():
    """Why it ended early, what speaks against the generator, which objectives were missed."""
    results = load_results(
        note="Ended early.",
        operations=(operation("whoami", requests=7, refused=7),),
        validity=validity(is_valid=False, reasons=("Too late.",)),
        objectives=(missed(),),
    )

    assert list(exit_summary(results)) == [
        "Ended early.",
        "nothing kept: whoami, of 7 requests",
        "not a valid measurement: Too late.",
        "objective missed: whoami p99_ms 9, bound 5",
    ]


@pytest.mark.parametrize(
    ("results", "exit_code"),
    [
        pytest.param(load_results(), ExitCode.KEPT, id="all is well"),
        pytest.param(load_results(objectives=(missed(),)), ExitCode.BREACH, id="missed"),
        pytest.param(load_results(validity=INVALID), ExitCode.INVALID_MEASUREMENT, id="invalid"),
        pytest.param(
            load_results(validity=INVALID, objectives=(missed(),)),
            ExitCode.INVALID_MEASUREMENT,
            id="invalid and missed",
        ),
        pytest.param(load_results(invariants=(BROKEN,)), ExitCode.BREACH, id="broken"),
        pytest.param(
            load_results(validity=INVALID, invariants=(BROKEN,)), ExitCode.BREACH, id="invalid and broken"
        ),
        pytest.param(load_results(invariants=(KEPT,)), ExitCode.KEPT, id="excused"),
        pytest.param(
            load_results(operations=(operation(), operation("runModel", requests=7, refused=7))),
            ExitCode.BREACH,
            id="an operation was refused throughout",
        ),
        pytest.param(
            load_results(operations=(operation(requests=7, throttled=7),), validity=INVALID),
            ExitCode.BREACH,
            id="everything was throttled",
        ),
        pytest.param(
            load_results(operations=(operation(), operation(f"{TASK}look", requests=1, failed=1))),
            ExitCode.BREACH,
            id="a task raised an exception",
        ),
        pytest.param(
            load_results(operations=(operation(requests=7, refused=6),)),
            ExitCode.KEPT,
            id="something was kept",
        ),
    ],
)
def test_exit_code_follows_from_the_figures(results, exit_code):
    """A generator that was late says nothing of objectives; what is broken, or never came, stays so."""
    assert exit_code_of(results, was_interrupted=False) == exit_code


def test_interruption_comes_before_everything():
    """Half a run has no verdict."""
    assert exit_code_of(load_results(objectives=(missed(),)), was_interrupted=True) == ExitCode.INTERRUPTED
