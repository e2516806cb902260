"""Every report of a load run is made from its record, also if parts are missing."""

import json
from dataclasses import replace

import pytest
from load_records import load_run, missed, operation, times, validity
from rendering import printed, render_all

from knouds_harness.measures.objectives import describe
from knouds_harness.runs.load_plan import PlannedStage
from knouds_harness.runs.load_results import LOAD_FILE, Doubt, Invariant, StageLoad
from knouds_harness.runs.operation_load import CustomMetric, ErrorCount, TaskError

SECONDS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_summary_json_holds_the_figures(tmp_path):
    """Facts that a load run does not test have no status in it."""
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, failed=1)

    summary = json.loads(render_all(folder).summary.read_text())

    (operation,) = summary["load"]["operations"]
    assert (operation["operation"], operation["by_status"]["failed"]) == ("getWhoami", 2)
    assert operation["response"]["percentiles"]["50"] == pytest.approx(3.0, rel=0.001)
    assert summary["load"]["plan"]["scenario"] == "reads"
    assert (summary["facts"], summary["findings"]) == ({}, [])


def test_verdict_is_the_same_in_every_report(tmp_path):
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, outcome="broken", objectives=(missed(),))

    assert printed(folder).strip().startswith("Objectives missed")
    assert json.loads((folder / "summary.json").read_text())["verdict"].startswith("Objectives missed: ")
    assert "Objectives missed" in (folder / "report.md").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("throughput_per_s", "mean_and_max_ms", "plan", "backlog"),
    [
        pytest.param(480.0, (1000.0, 2500.0), {}, 1200, id="the target does not keep up"),
        pytest.param(480.0, (1000.0, 2500.0), {"warm_up_s": 0.0}, 1200, id="nor without a warm-up"),
        pytest.param(300.0, (5000.0, 10_000.0), {"warm_up_s": 0.0}, 3000, id="by far not"),
        pytest.param(480.0, (1000.0, 2500.0), {"model": "closed"}, 0, id="users wait for their answers"),
        pytest.param(599.0, (20.0, 25.0), {}, 0, id="it does"),
        pytest.param(540.0, (1000.0, 1010.0), {"warm_up_s": 0.0}, 0, id="long answers, and no warm-up"),
        pytest.param(540.0, (20.0, 25.0), {}, 0, id="polls that were due later"),
        pytest.param(610.0, (20.0, 25.0), {}, 0, id="a backlog of the warm-up is answered"),
        pytest.param(None, (1000.0, 2500.0), {}, 0, id="an older record"),
    ],
)
def test_backlog_of_an_overloaded_target_is_in_the_verdict(
    tmp_path, throughput_per_s, mean_and_max_ms, plan, backlog
):
    """Both rates are told: of what was due, and of answers, which a load of 600/s alone does not show."""
    mean_ms, max_ms = mean_and_max_ms
    load = replace(
        operation(requests=6000, response=replace(times(count=6000), mean_ms=mean_ms, max_ms=max_ms)),
        per_s=600.0,
        throughput_per_s=throughput_per_s,
    )
    folder = load_run(tmp_path, {}, plan=plan, operations=(load,), overall=load.response)

    headline, *_ = printed(folder).strip().splitlines()

    says = f"Answers came at {throughput_per_s}/s of 600.0/s due: the backlog grew by {backlog:,} requests."
    assert (says in headline) is bool(backlog)


@pytest.mark.parametrize(
    ("count", "example", "is_first"),
    [
        (30, "getWhoami 200: a key is missing", True),
        (5, "getHealth 502: expected an answer of the API, observed 502 text/html from nginx", True),
        (5, "getWhoami 200: a key is missing", False),
    ],
)
def test_answers_that_never_came_from_the_api_are_told_first(tmp_path, count, example, is_first):
    """If they are many, or all that is wrong: then it is no fault of the API."""
    error = ErrorCount(
        status="failed", status_code=502, code="in front of the API: text/html from nginx", count=count
    )
    load = replace(operation("getHealth", requests=100, failed=count), errors=(error,))
    broken = Invariant(fact="ground.no-5xx", says="No 5xx.", seen=9, broken=3, example=example)
    folder = load_run(tmp_path, {}, outcome="broken", operations=(load,), invariants=(broken,))

    headline, *rest = printed(folder).strip().splitlines()

    says = f"{count} of 100 answers never came from the API  502 text/html from nginx {count} times."
    assert headline.startswith(says if is_first else "Contract broken under load  ground.no-5xx.")
    is_gateways = "502" in example
    assert ("Contract broken under load" in headline) is not is_gateways
    assert any("ground.no-5xx was broken" in line for line in rest) is not is_gateways


def test_miss_that_ended_the_load_is_told_once(tmp_path):
    """The figure of the whole run is in the table of objectives."""
    aborted = replace(missed(), ended_run=True, observed_in_all=3.0)
    note = f"Ended early by --abort-on: {describe(aborted)}; 9 requests are in flight for longer."
    folder = load_run(tmp_path, {"whoami": SECONDS}, outcome="broken", objectives=(aborted,), note=note)

    headline, *rest = printed(folder).strip().splitlines()

    assert headline.startswith(f"Objectives missed  {note} 6 requests, ")
    assert "at most 5.00 ms" not in " ".join(rest)
    assert "9.00 ms over 10 s (3.00 ms over the whole run)" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("doubt", "title", "kept_up"),
    [
        (Doubt.BUSY, "Not a valid measurement", "it did not"),
        (Doubt.SLOW_TARGET, "The target did not keep up", "it did"),
    ],
)
def test_load_of_which_tasks_were_not_sent_shows_what_was_asked_for(tmp_path, doubt, title, kept_up):
    """And does not blame the generator for a target that is slow."""
    doubted = validity(is_valid=False, reasons=("60 of 100 tasks were not sent.",), doubts=(doubt,))
    folder = load_run(tmp_path, {"whoami": SECONDS}, validity=doubted)

    headline, *rest = printed(folder).strip().splitlines()

    assert headline.startswith(
        f"{title}  60 of 100 tasks were not sent. 6 requests, 10.0 tasks/s of 10.0 asked"
    )
    assert "not sent" not in " ".join(rest)
    assert f">{kept_up}</" in (folder / "report.html").read_text()


def test_time_of_a_load_that_ended_early_is_what_it_lasted(tmp_path):
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, lasted_s=7.25)

    assert "7.2 of 10 s, the first 2 s left out" in printed(folder)


REFUSED = operation("runWorkflow", requests=7, refused=7)
NOT_ONE = "not one of 7 requests of runWorkflow succeeded"


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([REFUSED], f"No request succeeded  {NOT_ONE}"),
        (
            [REFUSED, operation("b", requests=1, throttled=1)],
            f"No request succeeded  {NOT_ONE}: errors, and 1 more operations",
        ),
        ([operation(), REFUSED], f"An operation never succeeded  {NOT_ONE}"),
    ],
    ids=["all", "all of two", "one of two"],
)
def test_run_without_a_success_of_an_operation_is_red(tmp_path, operations, says):
    """Whatever its objectives say, and however late its generator was."""
    late = validity(is_valid=False, reasons=("Too late.",))
    folder = load_run(tmp_path, {}, outcome="broken", operations=tuple(operations), validity=late)

    assert printed(folder, width=200).strip().startswith(says)


@pytest.mark.parametrize(("name", "shown"), [("", "stage 2"), ("hold", "hold")])
def test_stages_have_a_table(tmp_path, name, shown):
    plan = PlannedStage(duration_s=5.0, start=0.0, end=50.0, name=name)
    stage = StageLoad(number=2, to_s=10.0, plan=plan, operations=(operation(),), overall=times(2.0, 9.0))
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, stages=(stage,))

    line = next(line for line in printed(folder, width=200).splitlines() if shown in line)

    assert " ".join(line.split()).startswith(f"{shown} 5 to 10 0 to 50/s 100 10.0 0.00% 2.00 ms")
    for report in ("report.html", "report.md"):
        assert shown in (folder / report).read_text()


def test_metrics_of_ones_own_have_a_table(tmp_path):
    """And their figures stand in summary.json."""
    render = CustomMetric(name="render", count=100, per_s=10.0, times=times(2.0, 9.0))
    hits = CustomMetric(name="cache hits", count=1234, per_s=123.4)
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, custom_metrics=(hits, render))

    lines = [" ".join(line.split()) for line in printed(folder, width=200).splitlines()]

    (counter,) = (line for line in lines if line.startswith("cache hits 1,234 123.4 "))
    (measured,) = (line for line in lines if line.startswith("render 100 10.0 2.00 ms "))
    assert set(counter.split()[4:]) == {"-"}
    assert measured.endswith(" 9.00 ms")
    for report in ("report.html", "report.md"):
        assert "cache hits" in (folder / report).read_text()
    found = json.loads((folder / "summary.json").read_text())["load"]["custom_metrics"]
    assert [(each["name"], each["count"]) for each in found] == [("cache hits", 1234), ("render", 100)]


def test_exceptions_of_a_task_are_no_requests(tmp_path):
    """They stand in the table of what was not ok, not in those of operations, and miss no objective there."""
    raised = TaskError(task="look", error="KeyError (mine.py:3)", count=7)
    folder = load_run(tmp_path, {"getWhoami": SECONDS}, outcome="broken", task_errors=(raised,))

    first, *lines = printed(folder, width=200).strip().splitlines()

    assert first.startswith("A task failed  look raised KeyError (mine.py:3), 7 times")
    assert [line.split()[:3] for line in lines if "task look" in line] == [["task", "look", "failed"]]
    assert not any("all operations" in line for line in lines)


@pytest.mark.parametrize("change", [None, lambda text: text[:100]], ids=["missing", "cut short"])
def test_record_without_figures_has_no_verdict(tmp_path, change):
    folder = load_run(tmp_path, {"getWhoami": SECONDS})
    path = folder / LOAD_FILE
    if change:
        path.write_text(change(path.read_text()))
    else:
        path.unlink()

    said = printed(folder)

    assert said.strip().startswith(f"No figures  {LOAD_FILE} is ")
    assert "Contract" not in said
