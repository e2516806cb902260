"""A generator is judged by its effect on the figures; a miss that it cannot explain stays a miss."""

from __future__ import annotations

from typing import Any

import pytest
from load_records import histogram_of, missed, validity

from knouds_harness.load.collection.rows import Waiting
from knouds_harness.load.collection.seconds import Second, SeriesKey
from knouds_harness.load.leader.validity import describe_slowdown, judge_generator, with_doubts
from knouds_harness.load.leader.workers import Health
from knouds_harness.measures.delay import Delay, OkTimes
from knouds_harness.reporting.load.tables import describe_delay
from knouds_harness.runs.load_results import Doubt, JudgedObjective, Validity
from knouds_harness.runs.operation_load import RequestStatus

PROMPT_LAGS = histogram_of([0.1] * 1000)
LATE_LAGS = histogram_of([0.1] * 500 + [20.0] * 500)
PROMPT, LATE = Delay(PROMPT_LAGS), Delay(LATE_LAGS)
DELAYED = validity(is_valid=False, reasons=("The p99 holds a delay.",), doubts=(Doubt.DELAY,))
BUSY = validity(is_valid=False, reasons=("all users were busy",), doubts=(Doubt.BUSY,))
MISSING = validity(is_valid=False, reasons=("A worker was lost.",), doubts=(Doubt.MISSING,))


def kept(took_ms: float, *, late_ms: float = 0.0, name: str = "whoami") -> OkTimes:
    took = [took_ms * (1 + number / 10_000) for number in range(1000)]
    return OkTimes(
        operation=name, service=histogram_of(took), response=histogram_of([each + late_ms for each in took])
    )


def judged_with(
    *,
    ok=(),
    missing=(),
    asked_per_s=500.0,
    achieved_per_s=499.9,
    accuracy=0.05,
    overload="",
    due=15_000,
    unsent=0,
    dropped=0,
    **health: Any,
) -> Validity:
    told: dict[str, Any] = {"loop_lag": PROMPT_LAGS, "cpu_share": 0.4} | health
    return judge_generator(
        Health(due=due, handed=due - unsent - dropped, dropped=dropped, **told),
        asked_per_s=asked_per_s,
        achieved_per_s=achieved_per_s,
        accuracy=accuracy,
        ok=ok,
        missing=missing,
        overload=overload,
    )


@pytest.mark.parametrize(
    ("at_first_ms", "taken_ms", "waiting", "says"),
    [
        pytest.param([12.0] * 5, [500.0] * 90, (), "over 500 ms, and at first took 12.0 ms", id="slower"),
        pytest.param([12.0] * 5, [15.0] * 90, (), "", id="as at first"),
        pytest.param([5.0, 900.0], [500.0] * 90, (), "", id="too few to say"),
        pytest.param([12.0] * 5, [10.0] * 9, (Waiting("a", 2.0, 90),), "over 2,000 ms", id="in flight"),
    ],
)
def test_target_is_slow_if_requests_take_longer_than_while_users_were_idle(
    at_first_ms, taken_ms, waiting, says
):
    """Then more users would only wait longer."""
    counted = Second(unix_s=0, histograms={SeriesKey("a", RequestStatus.FAILED): histogram_of(taken_ms)})

    said = describe_slowdown(histogram_of(at_first_ms), counted, Health(waiting=waiting))

    assert says in said if says else said == ""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="it kept up"),
        pytest.param(
            {"achieved_per_s": 480.0, "due": 14_400}, id="Poisson arrivals are those that were drawn"
        ),
        pytest.param({"cpu_share": 0.99}, id="a busy processor alone, whose effects are judged themselves"),
        pytest.param({"asked_per_s": None, "due": 0}, id="the closed model has no rate to miss"),
    ],
)
def test_generator_that_kept_up_is_valid(change):
    judged = judged_with(ok=[kept(100)], **change)

    assert (judged.is_valid, judged.reasons, judged.delayed) == (True, (), ())


@pytest.mark.parametrize(
    ("change", "doubt", "reason"),
    [
        ({"achieved_per_s": 0.0, "asked_per_s": None}, Doubt.MISSING, "Nothing was sent"),
        ({"missing": ["A worker was lost."]}, Doubt.MISSING, "A worker was lost."),
        ({"dropped": 16}, Doubt.BUSY, "16 of 15000 tasks were not sent"),
        ({"dropped": 16, "ok": [kept(1500)]}, Doubt.BUSY, "The longest answer took 1,650 ms"),
        (
            {"dropped": 16, "overload": "It grew."},
            Doubt.SLOW_TARGET,
            "not sent, as all users were busy. It grew. Ask for a l",
        ),
        ({"unsent": 151}, Doubt.UNSENT, "151 of 15000 tasks were due and not sent"),
        ({"asked_per_s": None, "cpu_share": 0.97}, Doubt.UNSENT, "97% of its core"),
    ],
)
def test_generator_that_was_the_limit_is_invalid(change, doubt, reason):
    judged = judged_with(**change)

    assert not judged.is_valid
    assert judged.doubts == (doubt,)
    assert reason in judged.reasons[0]


@pytest.mark.parametrize(
    ("own_s", "queued_s", "helps"),
    [(0.8, 0.1, "more processes"), (0.1, 0.8, "a quieter machine"), (0.1, 0.1, "a machine of its own")],
)
def test_advice_follows_from_what_kept_the_generator(own_s, queued_s, helps):
    judged = judged_with(unsent=151, stalled_s=1.0, own_s=own_s, queued_s=queued_s)

    assert judged.reasons[0].endswith(f"not sent in time: use {helps}.")


@pytest.mark.parametrize(
    ("changes", "helps"),
    [
        ({"early_s": 0.9}, "; --warm-up 2 leaves most of it out"),
        ({"cpu_share": 0.03}, ""),
        ({}, "; use more processes"),
    ],
)
def test_more_processes_are_advised_only_to_a_process_that_is_busy(changes, helps):
    """Not for the first submit of a run, which is late as its code runs for the first time."""
    judged = judged_with(
        ok=[kept(30)], loop_lag=LATE_LAGS, stalled_s=1.0, own_s=0.9, queued_s=0.04, **changes
    )

    (_, why) = describe_delay(judged).split(" (±): ")
    assert why == f"90% its own work, 6% the host of this virtual machine, or its disk{helps}."


@pytest.mark.parametrize("change", [{"ok": [kept(20, late_ms=3)]}, {"ok": [kept(30)], "loop_lag": LATE_LAGS}])
def test_delay_is_a_doubt_of_figures_and_not_of_the_run(change):
    judged = judged_with(**change)

    assert (judged.is_valid, judged.reasons) == (True, ())
    assert {each.measure for each in judged.delayed} >= {"mean_ms", "p50_ms"}


def test_accuracy_says_which_figures_are_named():
    late = [kept(100, late_ms=3)]

    assert judged_with(ok=late, accuracy=0.01).delayed
    assert not judged_with(ok=late, accuracy=0.05).delayed


def test_each_operation_is_judged_by_itself():
    """A delay that is small for most requests can be large for a quick operation."""
    judged = judged_with(ok=[kept(1500, late_ms=5, name="run"), kept(20, late_ms=5)])

    assert {each.operation for each in judged.delayed} == {"whoami"}


def doubt_of(
    objective: JudgedObjective, *, judged: Validity | None = None, of: OkTimes | None = None, delay=PROMPT
) -> str:
    (found,) = with_doubts(
        [objective], judged or validity(), ok=[of or kept(20)], delay=delay, sent_per_s={"whoami": 95.0}
    )
    return found.doubt


@pytest.mark.parametrize(
    ("objective", "judged", "is_doubted"),
    [
        pytest.param(missed("error_rate", 0.01, 0.5), BUSY, False, id="less load fails no request"),
        pytest.param(missed("error_rate", 0.01, 0.5), MISSING, False, id="what failed has failed"),
        pytest.param(missed("p99_ms", 5.0, 20.0), BUSY, False, id="less load makes no answer slower"),
        pytest.param(missed("p99_ms", 5.0, 20.0), MISSING, True, id="lost answers may have been quick"),
        pytest.param(missed("requests_per_s", 100, 90.0), BUSY, True, id="less was asked for"),
        pytest.param(missed("throughput_per_s", 100, 90.0), BUSY, True, id="fewer could answer"),
        pytest.param(missed("throughput_per_s", 93, 90.0), BUSY, False, id="enough were sent"),
        pytest.param(missed("requests_per_s", 100, 90.0), validity(), False, id="all was asked for"),
        pytest.param(missed("requests_per_s", 100, 90.0), DELAYED, False, id="a delay explains times"),
        pytest.param(missed("p99_ms", 5.0, None), DELAYED, False, id="a delay does not keep back a request"),
        pytest.param(missed("p99_ms", 5.0, None), BUSY, True, id="never measured"),
    ],
)
def test_doubt_covers_only_what_it_can_explain(objective, judged, is_doubted):
    """A server that failed every second request has done so, however few requests it was sent."""
    assert bool(doubt_of(objective, judged=judged)) is is_doubted


@pytest.mark.parametrize(("bound_ms", "is_doubted"), [(30.0, True), (22.5, True), (15.0, False)])
def test_delay_explains_only_misses_up_to_its_length(bound_ms, is_doubted):
    """Responses take 20 ms, half of them are read 20 ms late: the target itself missed a bound of 15 ms."""
    seen = histogram_of([20 + number / 500 + (20 if number % 2 else 0.1) for number in range(1000)])
    of = OkTimes(operation="whoami", response=seen, service=seen)

    assert bool(doubt_of(missed("p99_ms", bound_ms, 41.0), of=of, delay=LATE)) is is_doubted


def test_late_sending_does_not_count_against_the_target():
    """Sent 30 ms late, they took 20 ms: the target did not miss the bound of 25 ms."""
    of = kept(20, late_ms=30)

    assert doubt_of(missed("p99_ms", 25.0, 52.0), of=of)
    assert not doubt_of(missed("p99_ms", 19.0, 52.0), of=of)


def test_objective_that_was_met_is_not_doubted():
    met = JudgedObjective(operation="whoami", measure="p99_ms", bound=50.0, observed=40.0, is_met=True)

    assert not doubt_of(met, of=kept(20, late_ms=20))
