"""A capacity search keeps a record of all its points, however it ends."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from example_targets import make_target
from load_records import load_results, missed, operation, times

from knouds_harness.errors import ExitCode
from knouds_harness.load import capacity as capacity_run
from knouds_harness.load.capacity import CapacityPlan, find_capacity
from knouds_harness.load.capacity_search import Search
from knouds_harness.load.generator.launching import Launched, LoadCommand
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.load_record import LoadWriter
from knouds_harness.runs.load_results import Capacity, LoadResults
from knouds_harness.runs.operation_load import SecondRow
from knouds_harness.runs.record import RunRecord, read_run


@dataclass
class Points:
    """Stand in for Locust: a target with a known capacity; remembers the options of each point."""

    capacity: float
    cost_credits: float = 0.0
    then: Launched | None = None
    after: int = 2
    interrupted_at: int | None = None
    results: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def launch(self, command: LoadCommand, *_: object, **__: object) -> Launched:
        self.asked.append(dict(zip(command.options[::2], command.options[1::2], strict=True)))
        if self.then and len(self.asked) > self.after:
            return self.then
        folder = command.runs_folder / str(len(self.asked))
        folder.mkdir(parents=True)
        is_kept = float(self.asked[-1]["--rate"]) <= self.capacity
        with LoadWriter(folder) as writer:
            row = SecondRow(
                at_s=0, operation="whoami", by_status={"ok": 9}, p50_ms=2.0, p99_ms=9.0, max_ms=9.0
            )
            writer.add_seconds([row])
            writer.write(
                load_results(
                    objectives=() if is_kept else (missed(),),
                    overall=times(2.0 if is_kept else 50.0),
                    cost_credits=self.cost_credits,
                    **self.results,
                )
            )
        return Launched(
            exit_code=ExitCode.KEPT if is_kept else ExitCode.BREACH,
            folder=folder,
            was_interrupted=len(self.asked) == self.interrupted_at,
        )


def found_by(launched: Launched) -> tuple[RunRecord, LoadResults, Capacity]:
    assert launched.folder
    record = read_run(launched.folder)
    assert record.load
    assert record.load.capacity
    return record, record.load, record.load.capacity


@pytest.fixture
def search(tmp_path, monkeypatch):
    def run(points: Points, *, within_s: float = 600.0, most: float = math.inf) -> Launched:
        monkeypatch.setattr(capacity_run, "launch", points.launch)
        plan = CapacityPlan(
            search=Search(first=10, most=most, repeats=2),
            point_s=5.0,
            warm_up_s=1.0,
            within_s=within_s,
            credits=100.0,
            seed=3,
        )
        command = LoadCommand(scenario=Path("reads.py"), runs_folder=tmp_path, options=[], line="load reads")
        return find_capacity(plan, command, make_target(), environ={})

    return run


def test_record_holds_every_point_and_the_figures_of_the_found_rate(search):
    points = Points(50)

    launched = search(points)

    record, results, capacity = found_by(launched)
    assert (launched.exit_code, record.outcome) == (ExitCode.KEPT, RunOutcome.KEPT)
    assert capacity.highest_per_s == 47.6
    assert len(capacity.points) == len(points.asked) == len(results.plan.stages)
    seconds = record.seconds
    assert [each.at_s for each in seconds] == [5 * number for number in range(len(points.asked))]
    assert results.objectives == ()
    assert results.plan.seed == 3


def test_points_share_the_credits(search):
    """A point can spend what the points before it left; seeds count up from the seed of the search."""
    points = Points(10, cost_credits=30.0)

    launched = search(points)

    assert [each["--credits"] for each in points.asked[:4]] == ["100", "70", "40", "10"]
    assert [each["--seed"] for each in points.asked[:3]] == ["3", "4", "5"]
    assert found_by(launched)[1].cost_credits == 30.0 * len(points.asked)


def then(exit_code: ExitCode, note: str = "", **when: Any) -> Points:
    """Points of which the third, and all that follow, end otherwise."""
    return Points(1000, then=Launched(exit_code=exit_code, folder=None, note=note), **when)


@pytest.mark.parametrize(
    ("points", "exit_code", "outcome", "limit"),
    [
        (then(ExitCode.INTERRUPTED), ExitCode.INTERRUPTED, RunOutcome.INTERRUPTED, "interrupted"),
        (Points(1000, interrupted_at=2), ExitCode.INTERRUPTED, RunOutcome.INTERRUPTED, "interrupted"),
        (then(ExitCode.GUARD, "no credits"), ExitCode.GUARD, RunOutcome.STOPPED, "no credits"),
        (then(ExitCode.UNREACHABLE, "silent"), ExitCode.UNREACHABLE, RunOutcome.STOPPED, "silent"),
    ],
    ids=["interrupted", "interrupted between points", "stopped by a guard", "unreachable"],
)
def test_search_that_ends_early_keeps_its_points(search, points, exit_code, outcome, limit):
    launched = search(points)

    record, _, capacity = found_by(launched)
    assert (launched.exit_code, record.outcome, capacity.limit) == (exit_code, outcome, limit)
    assert len(capacity.points) == 2


def test_unreachable_target_is_tried_once_more(search):
    """It answered before, so one bad moment decides nothing."""
    points = then(ExitCode.UNREACHABLE)

    search(points)

    assert [each["--rate"] for each in points.asked] == ["10", "20", "40", "40"]


@pytest.mark.parametrize(
    ("points", "within_s", "exit_code", "note"),
    [
        (then(ExitCode.UNREACHABLE, "silent", after=0), 600.0, ExitCode.UNREACHABLE, "silent"),
        (
            Points(1000, results={"operations": (operation(requests=7, refused=7),)}),
            600.0,
            ExitCode.BREACH,
            "7 of 7 requests were refused",
        ),
        (Points(1000), 4.0, ExitCode.INVALID_MEASUREMENT, "within 4 s"),
    ],
    ids=["unreachable", "refused", "no time"],
)
def test_search_without_a_measured_point_has_no_report(search, points, within_s, exit_code, note):
    launched = search(points, within_s=within_s)

    assert (launched.folder, launched.exit_code) == (None, exit_code)
    assert note in launched.note


def test_target_that_keeps_no_rate_fails_the_search(search):
    assert search(Points(0)).exit_code == ExitCode.BREACH
