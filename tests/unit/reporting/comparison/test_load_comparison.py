"""Comparison of load runs, from folders to verdict and exit code, with tolerances."""

from dataclasses import replace

import pytest
from load_records import histogram_of, load_run, load_side, lognormal_seconds, operation, times_of, validity

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.measures.histograms import merged
from knouds_harness.measures.objectives import parse_objectives
from knouds_harness.reporting.comparison.change import ChangeVerdict, RunFigure
from knouds_harness.reporting.comparison.load_comparison import compare_loads, read_tolerances
from knouds_harness.reporting.comparison.report import write_comparison
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.runs.load_results import Doubt, Invariant
from knouds_harness.runs.operation_load import PERCENTILES, CustomMetric

TOLERANCES = read_tolerances(None, "reads", [])


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """Make the runs of a side; whoever asks for the same gets the same."""
    made = {}

    def side(*, runs=3, median_ms=100.0, **options):
        asked = repr((runs, median_ms, options))
        if asked not in made:
            medians_ms = [median_ms] * runs
            made[asked] = load_side(tmp_path_factory.mktemp("side"), *medians_ms, per_s=200, **options)
        return made[asked]

    return side


def alone(folder, seconds, **options):
    """Make a side of one run."""
    return read_side([load_run(folder, seconds, **options)], baselines=folder).loads


def compared(baseline, candidate, tolerances=TOLERANCES, *, objectives=None, **options):
    return compare_loads(baseline, candidate, tolerances=tolerances, objectives=objectives, **options)


def row(comparison, measure, operation="whoami"):
    return next(each for each in comparison.rows if (each.operation, each.measure) == (operation, measure))


def test_same_server_is_not_worse(side):
    comparison = compared(side(), side(first_seed=50))

    assert comparison.verdict in (ChangeVerdict.SAME, ChangeVerdict.NO_EVIDENCE)
    assert comparison.exit_code == ExitCode.KEPT
    assert row(comparison, "p99.9_ms").reason == "too few requests"
    assert row(comparison, "p99.9_ms").verdict is ChangeVerdict.NO_EVIDENCE


@pytest.mark.parametrize(
    ("options", "worse"),
    [
        ({"runs": 5, "median_ms": 120}, {"p50_ms", "p99_ms"}),
        ({"runs": 5, "median_ms": 80}, set()),
        ({"failed": 5}, {"error_rate"}),
    ],
    ids=["slower", "faster", "more errors"],
)
def test_what_got_worse_is_a_regression(side, options, worse):
    comparison = compared(side(runs=5), side(first_seed=50, **options))

    assert {each.measure for each in comparison.regressions} == worse
    assert comparison.exit_code == (ExitCode.BREACH if worse else ExitCode.KEPT)
    assert worse or comparison.verdict is ChangeVerdict.BETTER


@pytest.mark.parametrize(("error_rate", "is_worse"), [(0.35, True), (0.005, False)])
def test_outage_in_every_run_is_a_regression(side, error_rate, is_worse):
    """The blocks of a run in which the server died differ so much that their interval shows nothing."""
    usual = side()[0]
    figures = {
        name: {**each, "error_rate": RunFigure(value=error_rate, error=0.2)}
        for name, each in usual.figures.items()
    }

    shown = row(compared([usual], [replace(usual, figures=figures)]), "error_rate")

    assert (shown.verdict is ChangeVerdict.WORSE) is is_worse
    assert shown.change.high <= 1


def test_throttled_requests_fail_only_with_a_tolerance(side):
    """They are not errors of the server; runs without any show no row."""
    usual, throttled = side(), side(first_seed=50, failed=50, status="throttled")

    shown = row(compared(usual, throttled), "throttled_rate")
    bounded = compared(usual, throttled, read_tolerances(None, "reads", ["throttled_rate=1%"]))

    assert (shown.baseline, shown.candidate, shown.is_gate) == (0.0, pytest.approx(0.2), False)
    assert [each.measure for each in bounded.regressions] == ["throttled_rate"]
    assert "throttled_rate" not in {each.measure for each in compared(usual, usual).rows}


def test_tolerated_change_is_not_a_regression(side):
    tolerances = read_tolerances(None, "reads", ["p50=50%", "p99=50%"])

    comparison = compared(side(runs=5), side(runs=5, median_ms=120, first_seed=50), tolerances)

    assert comparison.exit_code == ExitCode.KEPT
    assert row(comparison, "p50_ms").verdict is ChangeVerdict.SAME


LATE = validity(is_valid=False, reasons=("It was late.",), doubts=(Doubt.UNSENT,), arrivals=2000)
UNSENT, BUSY = replace(LATE, dropped=50), replace(LATE, doubts=(Doubt.BUSY,), dropped=1700)


@pytest.mark.parametrize(
    "options",
    [{"validity": UNSENT}, {"validity": BUSY}, {"outcome": "interrupted"}],
    ids=["late", "busy", "cut"],
)
def test_doubt_is_that_of_a_figure(side, options):
    """A hundredfold time is one, whatever else of the run is in doubt: no run is left out.

    A server that stalls keeps all users busy: what was not sent would have been slower still.
    """
    comparison = compared(side(median_ms=12), side(median_ms=1220, **options))

    assert row(comparison, "p50_ms").verdict is ChangeVerdict.WORSE
    assert row(comparison, "requests_per_s").reason == "less was sent than asked for"
    assert (comparison.exit_code, comparison.left_out) == (ExitCode.BREACH, ())
    assert "Its rate is not compared." in comparison.notes[0]


def test_tasks_that_were_not_sent_may_have_been_the_slowest(side):
    """With 2.5 % of them unsent nothing bounds the p99 above, and the median is hardly in doubt."""
    sound, late = side(), side(first_seed=50, validity=UNSENT)

    p99, p50 = (row(compared(sound, late), measure).change for measure in ("p99_ms", "p50_ms"))
    before = row(compared(late, sound), "p99_ms").change

    assert p99.low > -0.3
    assert p99.high > 900
    assert p50.high < 0.2
    assert before.low < -0.99


def test_side_without_figures_is_an_invalid_measurement(side, tmp_path):
    comparison = compared(side(), alone(tmp_path, {}, operations=()))

    assert comparison.exit_code == ExitCode.INVALID_MEASUREMENT
    assert comparison.rows == ()
    assert comparison.left_out[0].endswith(": Nothing was measured.")


def test_missed_objective_fails_even_if_nothing_changed(side, tmp_path):
    objectives = tmp_path / "objectives.toml"
    objectives.write_text('[reads."*"]\np99_ms = 50\n', encoding="utf-8")

    comparison = compared(side(), side(first_seed=50), objectives=objectives)

    assert [each.measure for each in comparison.missed] == ["p99_ms"]
    assert comparison.exit_code == ExitCode.BREACH


def test_objectives_of_the_command_line_count_too(side):
    added = parse_objectives(["whoami p99 < 50ms", "p99 < 60ms", "error_rate < 1%"])

    comparison = compared(side(), side(first_seed=50), added=added)

    missed = [(each.operation, each.bound) for each in comparison.missed]
    assert missed == [("all operations", 60), ("whoami", 50)]
    assert comparison.exit_code == ExitCode.BREACH


def test_contract_newly_broken_under_load_is_a_regression(side):
    """Even if the generator was the limit: a wrong response is wrong, however late it was requested."""
    fact = "async.final-status-is-kept"
    broken = (Invariant(fact=fact, says="A final status is kept.", seen=9, broken=1),)

    comparison = compared(side(), side(runs=1, invariants=broken, validity=LATE))

    assert comparison.newly_broken == (fact,)
    assert comparison.exit_code == ExitCode.BREACH
    assert compared(side(invariants=broken), side(invariants=broken)).newly_broken == ()


@pytest.mark.parametrize(
    ("plan", "says"), [({"scenario": "cancels"}, "cancels"), ({"model": "closed"}, "the closed model")]
)
def test_different_loads_do_not_compare(side, plan, says):
    with pytest.raises(UsageError, match=says):
        compared(side(), side(plan=plan))


def test_other_circumstances_are_noted(side):
    comparison = compared(side(), side(plan={"warm_up_s": 5.0}))

    assert comparison.notes == ("Not the same in all runs: the warm-up. Changes may come from that.",)


def test_comparison_of_single_runs_has_a_note(side):
    comparison = compared(side(runs=1), side(runs=1, first_seed=50))

    assert "One run per side" in comparison.notes[0]
    assert not row(comparison, "p99_ms").change.is_noise_seen


def test_operations_of_one_side_and_of_all_are_shown_and_not_gated(tmp_path):
    seconds = lognormal_seconds(1, seconds=10)
    both = alone(tmp_path / "both", {"whoami": seconds, "list": seconds})

    found = row(compared(both, alone(tmp_path / "one", {"whoami": seconds})), "p99_ms", operation="list")
    rows = compared(both, both).rows

    assert (found.reason, found.candidate, found.change) == ("only one side sent it", None, None)
    assert rows[-1].operation == "all"
    assert not any(each.is_gate for each in rows if each.operation == "all")


def test_throughput_is_compared_where_answers_did_not_keep_up(tmp_path):
    """The rate at which requests are due is the schedule's, and the same on both sides."""
    seconds = {"whoami": lognormal_seconds(1, per_s=200, seconds=10)}
    due = replace(operation("whoami", requests=2000), per_s=200.0)
    kept_up, lagged = (
        alone(tmp_path / f"{rate}", seconds, operations=(replace(due, throughput_per_s=rate),))
        for rate in (200.0, 150.0)
    )

    found = row(compared(kept_up, lagged), "throughput_per_s")

    assert (round(found.baseline), round(found.candidate)) == (200, 150)
    assert (found.verdict, found.is_gate) == (ChangeVerdict.WORSE, False)
    assert "throughput_per_s" not in {each.measure for each in compared(kept_up, kept_up).rows}


def test_run_without_times_is_compared_by_its_figures(side, tmp_path):
    folder = load_run(tmp_path / "bare", {"whoami": lognormal_seconds(9, per_s=200)})
    (folder / "times.hlog").unlink()
    bare = read_side([folder], baselines=tmp_path).loads

    comparison = compared(side(), bare)

    assert row(comparison, "p99_ms").change is not None
    assert "A run has no times.hlog" in comparison.notes[0]


def test_tolerance_with_the_longest_matching_name_wins(tmp_path):
    """That of the command line is for all operations, and what it names is a gate."""
    path = tmp_path / "objectives.toml"
    path.write_text(
        '[reads."*"]\np99_ms = 250\n[reads."*".tolerance]\np99_ms = "10%"\n'
        '[reads."* async".tolerance]\np99_ms = 0.2\nerror_rate = "0.5%"\n',
        encoding="utf-8",
    )

    tolerances = read_tolerances(path, "reads", ["p99.9=30%"])

    assert tolerances.of("runModel async", "p99_ms") == 0.2
    assert tolerances.of("runModel", "p99_ms") == 0.1
    assert tolerances.of("runModel async", "error_rate") == pytest.approx(0.005)
    assert tolerances.of("runModel", "p99.9_ms") == pytest.approx(0.3)
    assert tolerances.is_gate("runModel", "p99.9_ms", is_open_model=True)
    assert not tolerances.is_gate("runModel", "p90_ms", is_open_model=True)


def test_rate_is_a_gate_only_in_the_closed_model():
    """In the open model the rate is that of the schedule."""
    assert TOLERANCES.is_gate("whoami", "requests_per_s", is_open_model=False)
    assert not TOLERANCES.is_gate("whoami", "requests_per_s", is_open_model=True)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        read_tolerances(None, "reads", ["p98=1%", "p99=much", "p50=-3%"])

    message = str(caught.value)
    assert "--tolerance p98=1%: is not a measure" in message
    assert "'much' is not a share" in message
    assert "'-3%' is not a share" in message


def test_metrics_of_ones_own_are_compared(tmp_path):
    """A time as times are; a counter without a verdict, as nobody knows whether more of it is better."""
    sides = []
    for number, (slower, hits) in enumerate(((1.0, 50), (1.5, 20))):
        taken = [[slower * each for each in second] for second in lognormal_seconds(1, per_s=200, seconds=10)]
        times = times_of(merged(map(histogram_of, taken)))
        metrics = (
            CustomMetric(name="hits", count=hits, per_s=hits / 10),
            CustomMetric(name="render", count=2000, per_s=200.0, times=times),
        )
        seconds = {"whoami": lognormal_seconds(2, per_s=200, seconds=10)}
        own = {"times_of_ones_own": {"render": taken}, "custom_metrics": metrics}
        sides.append(alone(tmp_path / str(number), seconds, **own))
    added = parse_objectives(["hits count > 30", "stage 1: whoami p50 < 0ms"])  # load alone judges a stage

    comparison = compared(*sides, added=added)

    regressions = {(each.operation, each.measure) for each in comparison.regressions}
    assert regressions == {("render", "p50_ms"), ("render", "p99_ms")}
    assert {each.measure for each in comparison.rows if each.operation == "render"} == set(PERCENTILES)
    assert not any(each.operation == "all" for each in comparison.rows)
    assert comparison.counters == {"hits": (5.0, 2.0)}
    assert [each.observed for each in comparison.missed] == [20]
    write_comparison(comparison, tmp_path)
    assert "| `hits` | 5.0/s | 2.0/s |" in (tmp_path / "compare.md").read_text()
