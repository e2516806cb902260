"""The baseline of a load run: where it comes from, and how the reports show it."""

import json
from contextlib import nullcontext
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner
from load_records import load_run, lognormal_seconds
from run_records import healthy

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode, RunRecordError, UsageError
from knouds_harness.load.generator import launching
from knouds_harness.reporting.comparison.baseline import (
    BASELINE_FILE,
    find_baseline,
    read_change,
    set_baseline,
)
from knouds_harness.reporting.comparison.load_comparison import LoadComparison
from knouds_harness.reporting.comparison.sides import keep, read_side
from knouds_harness.reporting.render import render_all
from knouds_harness.runs.record import read_run
from knouds_harness.targets import builtin

SCHEMA = Path(__file__).parents[4] / "docs" / "summary.schema.json"


def made(folder, seed=0, *, median_ms=100.0, **changes):
    run = load_run(folder, {"whoami": lognormal_seconds(seed, median_ms=median_ms, seconds=10)}, **changes)
    return run.rename(folder / f"20261125T0930{seed:02}Z-load-staging-reads")


@pytest.fixture
def objectives(tmp_path):
    path = tmp_path / "objectives.toml"
    path.write_text("")
    return path


@pytest.fixture
def baselines(tmp_path):
    folder = tmp_path / "baselines"
    runs = [made(tmp_path / "before", seed) for seed in range(3)]
    keep("staging-reads", read_side(runs, baselines=folder), baselines=folder)
    return folder


@pytest.fixture
def slower(tmp_path):
    return made(tmp_path / "after", 50, median_ms=150)


@pytest.fixture
def compared(slower, baselines, objectives):
    set_baseline(slower, read_side([Path("staging-reads")], baselines=baselines), objectives=objectives)
    return slower


def found(baselines, name=None, *, scenario="reads", is_open=True):
    return find_baseline(name, target="staging", scenario=scenario, is_open=is_open, baselines=baselines)


@pytest.mark.parametrize(("mix", "is_found"), [("run=3", True), ("run=3,whoami=1", False), ("run", False)])
def test_mix_is_compared_only_with_the_same_mix(tmp_path, mix, is_found):
    """The scenario of every mix is called custom."""
    run = made(tmp_path / "before", plan={"scenario": "custom", "mix": "run=3"})
    keep("staging-custom", read_side([run], baselines=tmp_path), baselines=tmp_path)

    side = find_baseline(None, target="staging", scenario="custom", is_open=True, baselines=tmp_path, mix=mix)

    assert bool(side) is is_found


def test_reports_show_changes_against_the_baseline(compared):
    paths = render_all(compared)

    assert '<h2 id="change">Change against the baseline</h2>' in paths.html.read_text()
    assert "Against `staging-reads`: ❌ worse. whoami p50 10" in paths.markdown.read_text()
    summary = json.loads(paths.summary.read_text())
    assert jsonschema_rs.is_valid(json.loads(SCHEMA.read_text(encoding="utf-8")), summary)
    change = summary["change"]
    assert change["against"] == "staging-reads"
    [p50] = [each for each in change["changes"] if each["measure"] == "p50_ms"]
    assert (p50["verdict"], p50["interval"][0] > 0.2, p50["noise"] > 0) == ("worse", True, True)


def test_page_shows_telling_changes_and_folds_up_the_rest(tmp_path, objectives):
    """Operations with only a few requests are folded up."""
    rare = {"whoami": lognormal_seconds(0, seconds=10), "moveWorkflow": [[1.0]] * 3}
    before = load_run(tmp_path / "before", rare).rename(tmp_path / "run")
    after = load_run(tmp_path / "after", rare)
    set_baseline(after, read_side([before], baselines=tmp_path), objectives=objectives)

    page = render_all(after).html.read_text()

    section = page.partition('id="change"')[2].partition("</section>")[0]
    shown, folded = section.split("<details>")
    assert "whoami" in shown
    assert "moveWorkflow" not in shown
    assert "moveWorkflow" in folded


def test_run_without_a_baseline_shows_no_changes(slower):
    paths = render_all(slower)

    assert 'id="change"' not in paths.html.read_text()
    assert "change" not in json.loads(paths.summary.read_text())


def test_reports_are_rendered_again_from_the_folder_alone(compared, baselines):
    """Neither the baseline nor the times of each second are read again."""
    first = render_all(compared).html.read_text()

    (baselines / "staging-reads.json").unlink()
    (compared / "times.hlog").unlink()

    assert render_all(compared).html.read_text() == first


def test_tolerances_are_kept_with_the_run(slower, baselines, objectives):
    objectives.write_text('[reads."*"]\ntolerance = { p50_ms = "90%", p99_ms = "90%" }\n')

    set_baseline(slower, read_side([Path("staging-reads")], baselines=baselines), objectives=objectives)
    objectives.unlink()

    change = read_change(read_run(slower), [])
    assert change is not None
    assert isinstance(change.comparison, LoadComparison)
    assert {row.verdict for row in change.comparison.rows if row.measure == "p50_ms"} == {"same"}


def test_damaged_baseline_is_reported(compared):
    path = compared / BASELINE_FILE
    path.write_bytes(path.read_bytes()[:500])

    page = render_all(compared).html.read_text()

    assert "baseline.json is damaged or of another version: no changes are shown." in page
    assert 'id="change"' not in page


def test_interrupted_run_is_compared_as_far_as_it_came(tmp_path, baselines, objectives):
    run = made(tmp_path / "after", 51, outcome="interrupted")
    set_baseline(run, read_side([Path("staging-reads")], baselines=baselines), objectives=objectives)

    page = render_all(run).html.read_text()

    assert 'id="change"' in page
    assert "It did not come to its end. Its rate is not compared." in page


def test_run_itself_and_a_check_take_no_such_baseline(tmp_path, baselines, objectives):
    side = read_side([Path("staging-reads")], baselines=baselines)
    itself = tmp_path / "before" / "20261125T093000Z-load-staging-reads"

    for folder, says in ((itself, "contains this run itself"), (healthy(tmp_path), "they do not compare")):
        with pytest.raises(UsageError, match=says):
            set_baseline(folder, side, objectives=objectives)


def test_kept_summary_of_target_and_scenario_is_the_baseline(baselines):
    assert found(baselines).name == "staging-reads"


@pytest.mark.parametrize("question", [{"scenario": "mixed"}, {"is_open": False}], ids=str)
def test_baseline_is_of_the_same_scenario_and_model(baselines, question):
    """A kept summary of another is passed over; one that is named is refused."""
    assert found(baselines, **question) is None
    with pytest.raises(UsageError, match="--baseline staging-reads: is of reads in the open model"):
        found(baselines, "staging-reads", **question)


def test_named_baseline_must_exist(baselines):
    with pytest.raises(RunRecordError, match="staging-reads"):
        found(baselines, "spring")


def test_report_command_takes_a_baseline(slower, baselines):
    command = ["report", str(slower), "--baseline", "staging-reads", "--baselines-folder", str(baselines)]

    done = CliRunner().invoke(cli, command)

    assert done.exit_code == 0
    assert "Against staging-reads: worse. whoami p50" in done.output
    assert "Against staging-reads" in CliRunner().invoke(cli, ["report", str(slower)]).output


@pytest.fixture
def launched(monkeypatch, slower):
    """Instead of a load: a run that was made before, and its exit code."""
    monkeypatch.setattr(builtin, "starting", lambda *_, **__: nullcontext(dict))
    monkeypatch.setattr(launching, "started", lambda *_, **__: nullcontext(object()))
    monkeypatch.setattr(
        launching, "lead", lambda *_, **__: launching.Launched(exit_code=ExitCode.KEPT, folder=slower)
    )


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("named", [(), ("--baseline", "staging-reads")], ids=["kept", "named"])
def test_load_shows_changes_and_fails_for_none(baselines, named):
    command = ["load", "reads", "--target", "staging", "--rate", "10", *named]

    done = CliRunner().invoke(cli, [*command, "--baselines-folder", str(baselines)])

    assert done.exit_code == 0
    assert "Against staging-reads: worse." in done.output


@pytest.mark.usefixtures("launched")
def test_capacity_search_takes_no_baseline():
    done = CliRunner().invoke(cli, ["load", "reads", "--find-capacity", "--baseline", "spring"])

    assert isinstance(done.exception, UsageError)
