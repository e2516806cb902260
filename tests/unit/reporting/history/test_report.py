"""The history on terminals of any width, and on its page."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from load_records import load_run, lognormal_seconds
from rich.console import Console

from knouds_harness.reporting.history.changes import ChangePoint, Series, SeriesPoint, series_of
from knouds_harness.reporting.history.entry import Entry, entry_of
from knouds_harness.reporting.history.report import entries_table, series_report
from knouds_harness.reporting.html import html
from knouds_harness.reporting.terminal import print_block, print_report
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.record import read_run


def entry(number=0, **changes):
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
    screen = io.StringIO()
    show(Console(file=screen, width=width, force_terminal=True, color_system=None))
    return screen.getvalue().splitlines()


def listed(entries, *, width, throttled=None):
    table = entries_table(entries, p99_ms={}, throttled=throttled or {}, most=20)
    return printed(lambda console: print_block(table, console=console), width=width)


@pytest.mark.parametrize("width", [50, 64, 100, 120])
def test_no_line_is_wider_than_the_terminal(width):
    lines = listed([entry(findings={"breach": 12, "assumption": 3}, setting="--quick")], width=width)

    assert max(map(len, lines)) <= width
    assert any("20261125T093000Z-check-staging" in line for line in lines)


def test_text_of_a_record_is_not_obeyed_by_the_terminal():
    lines = listed([entry(setting="\x1b[31m[bold]x[/nothing]")], width=120)

    assert "·[31m[bold]x[/nothing]" in lines[1]


def test_throttled_share_of_a_load_is_listed():
    (_, line) = listed([entry(scenario="reads")], width=120, throttled={entry().folder: 0.031})

    assert "3.10% throttled" in line


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


def test_bars_begin_at_zero():
    lines = plotted([10.0, 5.0])

    bars = [line.split(" ")[-1] for line in lines[1:7]]
    assert sum(1 for line in lines[1:7] if "██" in line) == 3
    assert bars[0] == "█"


def test_zeros_have_no_bars():
    assert not any("█" in line for line in plotted([0.0, 0.0]))


def test_newest_runs_are_shown_if_there_are_too_many():
    lines = plotted([1.0] * 59 + [2.0], width=30)

    assert lines[0].startswith("check of staging, 60 runs")
    assert lines[1].endswith("█")
    assert max(map(len, lines)) <= 30


def test_change_and_unsound_run_are_marked_below_their_bars():
    change = ChangePoint(at=2, before=10.0, after=20.0)

    lines = plotted([10.0, 10.0, 20.0], at2=change, **{"1": {"outcome": RunOutcome.INTERRUPTED}})

    assert lines[7].endswith(" x^")
    assert lines[8].strip() == "^ 10.0 s → 20.0 s (+100.0%), from 20261125T093002Z-check-staging on"
    assert lines[9].strip().startswith("x is not a valid measurement")


def page_of(root, **plan):
    folder = load_run(root / "runs", {"whoami": lognormal_seconds(1, seconds=2)}, plan=plan)
    entry = entry_of(read_run(folder))
    series = series_of("p99_ms:whoami", [entry], {entry.folder: 12.0})
    return folder, html(series_report("p99_ms:whoami", series, runs_folder=root / "runs"))


def test_text_of_a_record_is_escaped(tmp_path):
    _, page = page_of(tmp_path, scenario="</script><script>alert(1)</script>")

    assert "<script>alert" not in page


def test_existing_reports_are_linked(tmp_path):
    folder, page = page_of(tmp_path)
    assert "href=" not in page.split("<main", 1)[1]

    (folder / "report.html").write_text("", encoding="utf-8")
    entry = entry_of(read_run(folder))
    series = series_of("p99_ms:whoami", [entry], {entry.folder: 12.0})
    page = html(series_report("p99_ms:whoami", series, runs_folder=tmp_path / "runs"))

    assert f'href="runs/{folder.name}/report.html"' in page
