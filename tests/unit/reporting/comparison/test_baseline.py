"""The baseline of a check: every report names the facts that are verified no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest
from click.testing import CliRunner
from load_records import load_run, lognormal_seconds
from rendering import printed, render_all
from run_records import add_matrix, add_verified, broken, healthy, interrupted, start

from knouds_harness.commands.cli import cli
from knouds_harness.errors import ExitCode, RunRecordError, UsageError
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.comparison.sides import (
    BASELINE_FILE,
    find_baseline,
    keep,
    read_change,
    read_side,
    refuse_unfit,
    set_baseline,
)
from knouds_harness.reporting.render import annotations_of, workflow_command
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import UntestedFact
from knouds_harness.suite import running as suite

SCHEMA = Path(__file__).parents[4] / "docs" / "summary.schema.json"
LOST = "run.cost-is-credits"
NEEDS = "a key with workflow:run"


@pytest.fixture
def baselines(tmp_path, record_of):
    folder = tmp_path / "baselines"
    keep("staging-check", read_side([record_of(healthy).folder], baselines=folder), baselines=folder)
    return folder


@pytest.fixture
def against(baselines):
    """Set the kept summary as the baseline of a run."""
    side = read_side([baselines / "staging-check.json"], baselines=baselines)
    return lambda run: set_baseline(run, side)


def test_check_without_a_verdict_is_no_baseline(tmp_path):
    """Whether or not it may be cut short; a broken one may be."""
    refuse_unfit([broken(tmp_path / "broken")], allow_short=False)

    with pytest.raises(UsageError, match=r"no verdict \(interrupted"):
        refuse_unfit([interrupted(tmp_path / "interrupted")], allow_short=True)


def made(folder, day, make):
    """Make a run, in a folder whose name has another day of November than those of other runs."""
    run = make(folder)
    return run.rename(run.with_name(f"202611{day}T093000Z-check-staging"))


def less_verified(folder):
    lacking = UntestedFact(check="schemas.body", fact=LOST, operation="runWorkflow", missing=NEEDS)
    with start(folder) as writer:
        add_matrix(writer)
        add_verified(writer, lambda fact: fact != LOST)
        writer.add_untested(lacking)
        writer.finish("kept", 0)
    return writer.folder


def without_authentication(folder):
    with start(folder) as writer:
        add_verified(writer, lambda fact: not fact.startswith("auth."))
        writer.finish("kept", 0)
    return writer.folder


@pytest.fixture
def poorer(tmp_path):
    return made(tmp_path / "after", 26, less_verified)


@pytest.fixture
def compared(poorer, against):
    against(poorer)
    return poorer


def test_every_report_names_lost_facts(compared):
    """With what they need; headline, summary and JUnit show no success."""
    paths = render_all(compared)

    assert "Less verified than staging-check" in paths.html.read_text()
    assert f"- {LOST}: needs {NEEDS}" in paths.markdown.read_text()
    summary = json.loads(paths.summary.read_text())
    assert jsonschema_rs.is_valid(json.loads(SCHEMA.read_text(encoding="utf-8")), summary)
    assert summary["change"]["lost"] == [LOST]
    assert summary["verdict"].startswith("Less verified than staging-check")
    suites = {each.get("name"): each for each in ET.parse(paths.junit).getroot()}  # noqa: S314 - ours
    [case] = suites["baseline"]
    [failure] = case
    assert (case.get("name"), failure.get("message")) == (f"{LOST} is tested", f"{LOST}: needs {NEEDS}")


def test_annotations_say_how_many_facts_were_lost(tmp_path, against):
    """GitHub shows ten warnings per step."""
    run = made(tmp_path, 27, without_authentication)
    change = against(run)

    first, *warnings = map(workflow_command, annotations_of(read_run(run), change))

    lost = f"{len(change.lost)} facts were verified before and not tested now"
    assert first == f"::error title=Less verified than staging-check::{lost}"
    assert [each.startswith("::warning title=verified in staging-check") for each in warnings] == [True] * 10


@pytest.fixture
def broken_now(tmp_path, against):
    """A run with a breach and a new member that its baseline did not have."""
    run = made(tmp_path / "after", 27, broken)
    against(run)
    return run


def test_first_line_names_what_the_baseline_kept(broken_now):
    facts = {each.fact for each in read_run(broken_now).findings if each.verdict is Verdict.BREACH}

    first = printed(broken_now).split("\n")[0]

    assert first.startswith("Contract broken  In breach, unlike in staging-check: ")
    assert any(fact in first for fact in facts)


def test_only_new_leaves_out_what_the_baseline_had(broken_now, tmp_path):
    """But never what fails the run."""
    again = made(tmp_path / "again", 28, broken)
    set_baseline(again, read_side([broken_now], baselines=tmp_path))

    first, second = printed(broken_now, only_new=True), printed(again, only_new=True)

    assert "undocumented, breaks nothing" in first
    assert ", not so in the baseline" in first
    assert "undocumented, breaks nothing" in printed(again)
    assert "undocumented, breaks nothing" not in second
    assert "\n  assumption fails" in printed(again)
    assert "\n  assumption fails" not in second
    assert "\n  in breach" in second


def test_only_new_says_that_there_are_more_facts_than_in_the_baseline(compared):
    """Which lack something: those that lacked it in the baseline, too, are not among them."""
    both = f"facts not tested: need {NEEDS}"
    record, change = read_run(compared), read_change(read_run(compared), [])
    assert change is not None
    before = replace(change, baseline=replace(change.baseline, reasons={"run.model-ms": (NEEDS,)}))
    also = replace(record.untested[0], fact="run.model-ms")
    results = tuple(each for each in record.results if each.fact != also.fact)
    record = replace(record, untested=(*record.untested, also), results=results)

    assert f"  2 {both}\n" in printed(check_report(record, before))
    assert f"  1 more fact not tested: needs {NEEDS}\n" in printed(
        check_report(record, before, only_new=True)
    )


def test_what_is_new_and_fails_nothing_is_a_notice(broken_now, against):
    change = against(broken_now)

    shown = map(workflow_command, annotations_of(read_run(broken_now), change))
    notices = [each for each in shown if each.startswith("::notice")]

    assert any(
        each.startswith("::notice title=new against staging-check%2C fails nothing::health.shape: ")
        for each in notices
    )
    added = "/user/team: a new member, team, on getWhoami"
    assert f"::notice title=new against staging-check%2C breaks nothing::{added}" in notices


def test_older_summary_is_read(poorer, baselines, against):
    """Its reasons are one text, and it has no choice of tests."""
    path = baselines / "staging-check.json"
    kept = json.loads(path.read_text())
    [check] = kept["checks"]
    del check["choice"], check["reasons"]
    check["missing"] = {LOST: "needs a key, a model"}
    path.write_text(json.dumps(kept))

    change = against(poorer)

    assert change.lost_with_reasons == [f"{LOST}: needs {NEEDS}"]


def test_run_without_lost_facts_keeps_its_verdict(tmp_path, against):
    run = made(tmp_path / "after", 27, healthy)
    against(run)

    paths = render_all(run)

    assert "Less verified" not in paths.html.read_text()
    assert "Against `staging-check`: ✅ same." in paths.markdown.read_text()
    assert '<testsuite name="baseline" tests="1" failures="0"' in paths.junit.read_text()


def test_reports_are_rendered_again_from_the_folder_alone(compared, baselines):
    first = render_all(compared).html.read_text()

    (baselines / "staging-check.json").unlink()

    assert render_all(compared).html.read_text() == first


def test_damaged_baseline_is_reported(compared):
    path = compared / BASELINE_FILE
    path.write_bytes(path.read_bytes()[:500])

    page = render_all(compared).html.read_text()

    assert "baseline.json is damaged or of another version: no changes are shown." in page
    assert 'id="change"' not in page


def test_run_is_no_baseline_of_itself(poorer):
    with pytest.raises(UsageError, match="contains this run itself"):
        set_baseline(poorer, read_side([poorer], baselines=poorer))


@pytest.fixture
def check(monkeypatch, poorer, baselines):
    """Instead of a check: a run that was made before, and its exit code."""

    def check(*options, ended=ExitCode.KEPT, folder=baselines):
        monkeypatch.setattr(suite, "run_suite", lambda *_, **__: (ended, poorer))
        command = ["check", "--target", "staging", "--baselines-folder", str(folder)]
        return CliRunner().invoke(cli, [*command, *options])

    return check


@pytest.mark.parametrize("named", [(), ("--baseline", "staging-check")], ids=["kept", "named"])
@pytest.mark.parametrize(
    ("ended", "exits"), [(ExitCode.KEPT, ExitCode.BREACH), (ExitCode.GUARD, ExitCode.GUARD)]
)
def test_lost_facts_fail_a_check_that_kept_the_contract(ended, exits, named, check):
    done = check(*named, ended=ended)

    assert done.exit_code == exits
    assert f"not tested any more: {LOST}: needs {NEEDS}" in done.output


def test_record_has_the_exit_code_of_the_command(poorer, check):
    """In every file, also when rendered again without the baseline; the headline says why."""
    check()

    (poorer / "baseline.json").unlink()
    paths = render_all(poorer)
    summary = json.loads(paths.summary.read_text())
    assert (summary["outcome"], summary["exit_code"]) == ("short", 1)
    assert summary["verdict"].startswith("Less verified than staging-check: ")
    assert "knouds_harness_exit_code 1.0" in paths.metrics.read_text()
    assert read_run(poorer).exit_code == 1


def test_check_without_a_kept_baseline_compares_nothing(tmp_path, check):
    done = check(folder=tmp_path / "none")

    assert done.exit_code == ExitCode.KEPT
    assert "Against" not in done.output


def found(name, baselines):
    return find_baseline(name, target="staging", baselines=baselines)


def test_baseline_must_exist_and_be_comparable(tmp_path, baselines):
    load = load_run(tmp_path / "load", {"whoami": lognormal_seconds(0, seconds=3)})
    cut_short = interrupted(tmp_path / "cut short")

    with pytest.raises(RunRecordError, match="staging-check"):
        found("spring", baselines)
    with pytest.raises(UsageError, match="is of load"):
        found(str(load), baselines)
    with pytest.raises(UsageError, match="did not come to its end"):
        found(str(cut_short), baselines)
