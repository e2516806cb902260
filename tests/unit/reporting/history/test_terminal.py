"""The history on terminals of any width."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from knouds_harness.reporting.history.changes import ChangePoint, Series, SeriesPoint
from knouds_harness.reporting.history.entry import Entry
from knouds_harness.reporting.history.report import entries_table, series_report
from knouds_harness.reporting.terminal import print_block, print_report
from knouds_harness.runs.verdicts import RunOutcome


def entry(number=0, **changes):
    """A sound check."""
    members = {
        "folder": f"20261125T0930{number:02}Z-check-staging",
        "kind": "check",
        "target": "staging",
        "started_at": datetime(2026, 11, 25, 9, 30, tzinfo=UTC) + timedelta(seconds=number),
        "outcome": RunOutcome.KEPT,
        "exit_code": 0,
        "seed": 4711,
        "tool_version": "0.1.0",
        "contract_version": "1",
        "duration_s": 21.4,
        "cost_credits": 1301.0,
        "findings": {},
    }
    return Entry(**{**members, **changes})


def printed(show, *, width):
    """What a terminal of that width shows, line by line."""
    screen = io.StringIO()
    show(Console(file=screen, width=width, force_terminal=True, color_system=None))
    return screen.getvalue().splitlines()


def listed(entries, *, width):
    return printed(
        lambda console: print_block(entries_table(entries, p99_ms={}, most=20), console=console), width=width
    )


@pytest.mark.parametrize("width", [50, 64, 100, 120])
def test_no_line_is_wider_than_the_terminal(width):
    """And the name of the run is whole, to be copied."""
    lines = listed([entry(findings={"breach": 12, "assumption": 3}, setting="--quick")], width=width)

    assert max(map(len, lines)) <= width
    assert any("20261125T093000Z-check-staging" in line for line in lines)


def test_words_of_a_record_are_no_commands():
    """Neither to the terminal nor as markup."""
    lines = listed([entry(setting="\x1b[31m[bold]x[/nothing]")], width=120)

    assert "·[31m[bold]x[/nothing]" in lines[1]


def plotted(values, *, width=80, **changes):
    points = tuple(
        SeriesPoint(
            entry=entry(number, **changes.get(str(number), {})),
            value=value,
            change=changes.get(f"at{number}"),
        )
        for number, value in enumerate(values)
    )
    series = [Series(name="check of staging", points=points)]
    report = series_report("duration_s", series, runs_folder=Path())
    lines = printed(lambda console: print_report(report, None, console=console), width=width)
    return lines[next(at for at, line in enumerate(lines) if line.startswith("check of staging")) :]


def test_bars_stand_on_zero():
    """Half of the highest is half as high."""
    lines = plotted([10.0, 5.0])

    bars = [line.split(" ")[-1] for line in lines[1:7]]
    assert sum(1 for line in lines[1:7] if "██" in line) == 3
    assert bars[0] == "█"


def test_only_zeroes_make_no_bars():
    """And no error."""
    assert not any("█" in line for line in plotted([0.0, 0.0]))


def test_more_runs_than_columns_show_the_newest():
    """And it says so."""
    lines = plotted([1.0] * 59 + [2.0], width=30)

    assert lines[0].startswith("check of staging, 60 runs")
    assert lines[1].endswith("█")
    assert max(map(len, lines)) <= 30


def test_a_change_and_an_unsound_run_are_marked_below_their_bars():
    """With what each mark means."""
    change = ChangePoint(at=2, before=10.0, after=20.0)

    lines = plotted([10.0, 10.0, 20.0], at2=change, **{"1": {"outcome": RunOutcome.INTERRUPTED}})

    assert lines[7].endswith(" x^")
    assert lines[8].strip() == "^ 10.0 s → 20.0 s (+100.0%), from 20261125T093002Z-check-staging on"
    assert lines[9].strip().startswith("x is not a valid measurement")
