"""Metrics of a run, made from its seconds."""

from collections import Counter, defaultdict

import pytest
from load_records import histogram_of

from knouds_harness.load.collection.metrics import (
    RunMetrics,
    ok_times,
    operations_of,
    overall_by_label,
    times,
)
from knouds_harness.load.collection.seconds import Error, Measure, Second, SeriesKey, Traffic, now_unix_s
from knouds_harness.measures.histograms import merged
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    RECORDED_PERCENTS,
    TASK,
    TIME,
    TIME_MEASURES,
    CustomMetric,
    RequestStatus,
    TaskError,
    time_ms,
)


def histogram(*times_ms):
    return histogram_of(times_ms)


def begun(start_unix_s, *, warm_up_s=0.0):
    metrics = RunMetrics(warm_up_s=warm_up_s)
    metrics.begin(start_unix_s)
    return metrics


def rows(histograms):
    metrics = begun(1000)
    return {each.operation: each for each in metrics.add(Second(unix_s=1003, histograms=histograms))}


def test_percentiles_of_all_operations_are_those_of_their_requests():
    """They are not means of percentiles: a rare slow operation has little weight."""
    fast, slow = histogram(*[2.0] * 98), histogram(80.0, 90.0)

    found = rows({SeriesKey("whoami", RequestStatus.OK): fast, SeriesKey("runModel", RequestStatus.OK): slow})

    whole = merged([fast, slow])
    together = found[ALL_OPERATIONS]
    assert [together.p50_ms, together.p99_ms, together.max_ms] == [
        each * 1e3 for each in whole.percentiles_s(50, 99, 100)
    ]
    assert round(together.p99_ms or 0) == 80


def test_line_of_all_operations_has_their_requests_by_status():
    """Failed requests do not count in times."""
    found = rows(
        {
            SeriesKey("whoami", RequestStatus.OK): histogram(2.0),
            SeriesKey("whoami", RequestStatus.FAILED): histogram(500.0),
            SeriesKey("whoami", RequestStatus.OK, Measure.SERVICE): histogram(1.0),
            SeriesKey("usage", RequestStatus.FAILED): histogram(500.0),
        }
    )

    assert found["whoami"].by_status == {"ok": 1, "failed": 1}
    assert found[ALL_OPERATIONS].by_status == {"ok": 1, "failed": 2}
    assert found[ALL_OPERATIONS].spread == ""
    assert found[ALL_OPERATIONS].max_ms == found["whoami"].max_ms


def test_second_without_a_kept_request_has_no_total_times():
    found = rows({SeriesKey("whoami", RequestStatus.FAILED): histogram(500.0)})

    assert found[ALL_OPERATIONS].by_status == {"failed": 1}
    assert found[ALL_OPERATIONS].p50_ms is None


def test_distribution_has_all_recorded_percentiles():
    found = times(histogram(*[float(ms) for ms in range(1, 101)]))

    assert tuple(found.percentiles) == RECORDED_PERCENTS
    assert [round(time_ms(found, measure) or 0, 1) for measure in TIME_MEASURES] == [
        50.5, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0, 100.0
    ]  # fmt: skip


def test_exceptions_in_tasks_count_at_any_time():
    """At the start of users, in the warm-up and after it; requests count only after it."""
    metrics = RunMetrics(warm_up_s=10)
    error = Error(f"{TASK}on_start", RequestStatus.FAILED, 0, "KeyError")
    request = Error("whoami", RequestStatus.FAILED, 500, "")
    histograms = {SeriesKey(request.operation, request.status): histogram(0.0)}

    for unix_s in (1001, 1011, 1031):
        if unix_s == 1011:
            metrics.begin(1010)
        metrics.add(Second(unix_s=unix_s, histograms=histograms, errors=Counter([error, request])))

    (whoami,) = operations_of(metrics.measured, 10.0)
    assert (whoami.requests, whoami.errors[0].count) == (1, 1)
    assert metrics.task_errors() == (TaskError(task="on_start", error="KeyError", count=3),)


def test_requests_with_a_label_are_counted_together_too():
    """Of several labels, those before count what follows."""
    metrics = begun(1000)
    names = {"usage": 1.0, "large: usage": 2.0, "Readers: large: usage": 3.0, "Readers: whoami": 4.0}
    histograms = {SeriesKey(name, RequestStatus.OK): histogram(ms) for name, ms in names.items()}

    metrics.add(Second(unix_s=1003, histograms=histograms))

    found = overall_by_label(metrics.measured)
    assert {label: each.count for label, each in found.items()} == {
        "Readers": 2,
        "Readers: large": 1,
        "large": 1,
    }
    assert round(found["Readers"].max_ms) == 4
    assert [each.operation for each in ok_times(metrics.measured)][-2:] == [
        "large: all operations",
        ALL_OPERATIONS,
    ]


def test_counters_and_times_of_ones_own_are_no_requests():
    """They are counted after the warm-up; a counter that is known is 0 until something is added."""
    metrics = begun(1000, warm_up_s=5)
    taken = {SeriesKey("Readers: render", RequestStatus.OK, TIME): histogram(12.0, 14.0)}
    for unix_s, stage in ((1001, 1), (1007, 2), (1009, 2)):
        amounts = {"hits": 2.0, **({"retries": 0.0} if stage == 1 else {})}
        metrics.add(
            Second(unix_s=unix_s, stage=stage, histograms=taken, counters=defaultdict(float, amounts))
        )

    hits, retries, render = metrics.custom_metrics(metrics.measured, 2.0)

    assert hits == CustomMetric(name="hits", count=4, per_s=2.0)
    assert retries == CustomMetric(name="retries", count=0, per_s=0.0)
    assert (render.name, render.count, render.times) == (
        "Readers: render",
        4,
        times(histogram(*[12, 14] * 2)),
    )
    assert operations_of(metrics.measured, 2.0) == ()
    assert metrics.ended.total() == len(overall_by_label(metrics.measured)) == 0
    (stage,) = metrics.stages([PlannedStage(duration_s=5.0, start=0.0, end=5.0)] * 2)
    assert [each.operation for each in stage.named] == [
        "stage 2: all operations",
        "stage 2: hits",
        "stage 2: retries",
        "stage 2: Readers: render",
    ]


def test_each_stage_has_figures_of_its_own():
    """Per second of what was measured of it; a stage within the warm-up is left out."""
    metrics = begun(1000, warm_up_s=15)
    planned = [PlannedStage(duration_s=10.0, start=0.0, end=5.0)] * 3
    key = SeriesKey("whoami", RequestStatus.OK)
    for unix_s, stage in ((1005, 1), (1014, 2), (1016, 2), (1022, 3), (1029, 3)):
        metrics.add(Second(unix_s=unix_s, stage=stage, histograms={key: histogram(*[unix_s - 1000.0] * 10)}))
    metrics.end(1030)

    second, third = metrics.stages(planned)

    assert [(each.number, each.to_s) for each in (second, third)] == [(2, 20.0), (3, 30.0)]
    assert [each.total.requests for each in (second, third)] == [10, 20]
    assert [each.total.per_s for each in (second, third)] == [2.0, 2.0]
    assert round(second.overall.max_ms) == 16
    assert [each.operation for each in third.named] == ["stage 3: whoami", "stage 3: all operations"]
    by_name = {each.operation: len(each.response) for each in metrics.ok_times_by_stage(planned)}
    assert by_name == {"stage 2: whoami": 10, "stage 3: whoami": 20}


def test_all_requests_and_errors_count_from_the_beginning():
    metrics = begun(1000, warm_up_s=10)
    error = Error("whoami", RequestStatus.FAILED, 500, "")

    for unix_s in (999, 1005, 1015):
        histograms = {SeriesKey("whoami", RequestStatus.FAILED): histogram(1.0)}
        metrics.add(Second(unix_s=unix_s, histograms=histograms, errors=Counter([error])))

    assert (metrics.ended, metrics.errors) == ({RequestStatus.FAILED: 3}, {error: 3})
    assert metrics.measured.requests() == 1


def test_recent_rate_is_of_the_last_seconds_that_are_over():
    metrics = begun(100)
    for unix_s in (*range(100, 110), 115, 119):
        metrics.add(Second(unix_s=unix_s, histograms={SeriesKey("a", RequestStatus.OK): histogram(1, 2)}))

    assert metrics.recent_per_s(5) == 2 / 5
    assert len(metrics.recent(5).ok()) == 4


def test_parts_of_a_second_are_added_up():
    metrics = begun(100)
    for _ in range(5):
        metrics.add(Second(unix_s=100, histograms={SeriesKey("a", RequestStatus.OK): histogram(1, 2)}))

    assert metrics.recent_per_s(5) == 10


def test_response_in_one_piece_counts_as_a_body_time_of_0():
    key = SeriesKey("whoami", RequestStatus.OK)
    metrics = begun(1000)
    histograms = {
        key: histogram(1, 2, 3),
        key._replace(measure=Measure.FIRST_BYTE): histogram(1, 2, 3),
        key._replace(measure=Measure.BODY): histogram(4),
        key._replace(measure=Measure.CONNECT): histogram(1, 1),
    }
    for unix_s in (1001, 1002):
        metrics.add(Second(unix_s=unix_s, histograms=histograms, traffic={"whoami": Traffic(300, 60, 3)}))

    (found,) = operations_of(metrics.measured, 2.0)

    assert (found.first_byte.count, found.body.count, found.body.percentiles["50"]) == (6, 6, 0)
    assert round(found.body.max_ms) == 4
    assert (found.sent_bytes, found.received_bytes) == (600, 120)
    assert (found.connections_opened, found.connections_reused) == (4, 2)


def test_traffic_of_the_warm_up_is_left_out():
    metrics = begun(1000, warm_up_s=5.0)
    for unix_s in (1001, 1007):
        histograms = {SeriesKey("whoami", RequestStatus.OK): histogram(1)}
        metrics.add(Second(unix_s=unix_s, histograms=histograms, traffic={"whoami": Traffic(300, 60, 3)}))

    assert operations_of(metrics.measured, 2.0)[0].sent_bytes == 300


def test_rate_is_that_of_the_time_in_which_requests_were_due():
    """A load that ends early is not divided by the time until its last answer has come."""
    metrics = begun(now_unix_s() - 20, warm_up_s=5)
    metrics.end(metrics.start_unix_s + 15)

    assert metrics.measured_s(60.0) == pytest.approx(10.0, abs=1.0)  # from a whole second on


def test_time_of_a_load_that_goes_on_is_that_which_was_counted():
    """Counts are some two seconds old when a process is killed: rates would be so much too low."""
    metrics = begun(now_unix_s() - 20)
    metrics.add(Second(unix_s=int(metrics.start_unix_s) + 17))

    assert 17 <= metrics.counted_s <= 18
    assert metrics.elapsed_s >= 20
