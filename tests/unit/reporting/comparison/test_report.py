"""A comparison as a page, Markdown, JSON and in the terminal."""

import io
import json
import re
from dataclasses import replace

import pytest
from load_records import load_run, lognormal_seconds
from rich.console import Console
from run_records import broken, healthy

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.check_comparison import check_figures, compare_checks
from knouds_harness.reporting.comparison.load_comparison import compare_loads
from knouds_harness.reporting.comparison.report import comparison_report, write_comparison
from knouds_harness.reporting.comparison.sides import read_side
from knouds_harness.reporting.comparison.tolerances import read_tolerances
from knouds_harness.reporting.terminal import print_report
from knouds_harness.runs.record import read_run


def compared_loads(folder, *, median_ms, name="whoami"):
    return compared_runs(folder, before_ms=(100, 100, 100), after_ms=(median_ms,) * 3, name=name)


def compared_runs(folder, *, before_ms, after_ms, name="whoami"):
    sides = [
        read_side(
            [
                load_run(
                    folder / f"{label}{number}",
                    {name: lognormal_seconds(seed + number, median_ms=median_ms, per_s=100, seconds=10)},
                )
                for number, median_ms in enumerate(medians_ms)
            ],
            baselines=folder,
        ).loads
        for label, medians_ms, seed in (("a", before_ms, 0), ("b", after_ms, 50))
    ]
    return compare_loads(*sides, tolerances=read_tolerances(None, "reads", []), objectives=None)


@pytest.fixture
def slower(tmp_path):
    return compared_loads(tmp_path, median_ms=150)


@pytest.fixture
def checks(tmp_path):
    before, after = (check_figures(read_run(make(tmp_path / make.__name__))) for make in (healthy, broken))
    return compare_checks(before, after)


def printed(comparison, *, width=80, is_terminal=False):
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=is_terminal, color_system=None)
    print_report(comparison_report(comparison), None, console=console)
    return text.getvalue()


def test_files_have_the_same_verdict(tmp_path, slower):
    paths = write_comparison(slower, tmp_path / "out")

    stored = json.loads(paths.json.read_text(encoding="utf-8"))
    assert stored["verdict"].startswith("Worse: whoami p50")
    assert stored["exit_code"] == 1
    assert paths.markdown.read_text(encoding="utf-8").startswith("## ❌ Worse: `reads`\n\nwhoami p50")
    assert "<h1>Worse</h1>" in paths.html.read_text(encoding="utf-8")


def test_json_has_each_interval(tmp_path, slower):
    stored = json.loads(write_comparison(slower, tmp_path / "out").json.read_text(encoding="utf-8"))

    [p50] = [each for each in stored["changes"] if each["measure"] == "p50_ms"]
    low, high = p50["interval"]
    assert low < p50["change"] < high
    assert p50["smallest_visible"] > 0
    assert p50["is_noise_seen"]


def test_page_draws_the_interval_of_each_time(tmp_path, slower):
    html = write_comparison(slower, tmp_path / "out").html.read_text(encoding="utf-8")

    drawn = [row for row in slower.rows if row.change and row.measure != "error_rate"]
    assert html.count("<svg") == len(drawn)
    assert html.count('role="img" aria-label="whoami p50: ') == 1


@pytest.mark.parametrize("file", ["html", "markdown"])
def test_names_are_escaped(tmp_path, file):
    comparison = compared_loads(tmp_path, median_ms=150, name="<img src=x>")

    text = getattr(write_comparison(comparison, tmp_path / "out"), file).read_text(encoding="utf-8")

    assert "<img" not in re.sub(r"`[^`]*`", "", text)


def test_page_of_checks_lists_new_findings(tmp_path, checks):
    html = write_comparison(checks, tmp_path / "out").html.read_text(encoding="utf-8")

    assert all(each.fingerprint in html for each in checks.regressions)
    assert "Facts that changed" in html


def test_terminal_shows_verdict_and_gates_first(slower):
    lines = printed(slower).strip().splitlines()

    assert lines[0].startswith("Worse  whoami p50")
    assert lines[2].split()[:3] == ["worse", "whoami", "p50"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_a_terminal(slower, width):
    assert max(map(len, printed(slower, width=width, is_terminal=True).splitlines())) <= width


def test_large_change_is_a_multiple(tmp_path):
    slow = compared_runs(tmp_path, before_ms=(12, 12, 12), after_ms=(1220, 1220, 1220))

    first = " ".join(printed(slow).split())

    assert first.startswith("Worse whoami p50 12.")
    assert re.search(r"→ 1,2\d\d ms, 10\d times as slow \([\d.]+ to \d+ times\)", first)


def test_erratic_runs_claim_no_figure(tmp_path):
    erratic = compared_runs(tmp_path, before_ms=(1, 1000), after_ms=(1000, 1))

    assert erratic.verdict is ChangeVerdict.NO_EVIDENCE
    assert "too unlike each other" in " ".join(printed(erratic).split())
    paths = write_comparison(erratic, tmp_path / "compared")
    for path in (paths.html, paths.markdown):
        assert "over 900 times" in path.read_text()
        assert not re.search(r"\d{4,}(\.\d)? ?%", path.read_text())


def test_terminal_shows_a_few_findings_of_each_kind(checks):
    one_more = replace(checks.new[0], fact="whoami.user-object")

    text = printed(replace(checks, new=(*checks.new, one_more)))

    assert text.count("\n  new: ") == 4
    assert text.count("\n  new, fails nothing: ") == 2
    assert "… and 1 more fact in compare.html" in text


def test_folder_that_cannot_be_written_is_named(tmp_path, slower):
    (tmp_path / "out").write_text("")

    with pytest.raises(RunRecordError, match="out: cannot be written to"):
        write_comparison(slower, tmp_path / "out")
