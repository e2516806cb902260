"""A comparison as a page, Markdown, JSON and in the terminal."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest
from load_records import load_side
from rendering import printed
from run_records import broken, healthy

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.check_comparison import check_figures, compare_checks
from knouds_harness.reporting.comparison.load_comparison import compare_loads, read_tolerances
from knouds_harness.reporting.comparison.report import comparison_report, write_comparison


def compared(folder, *, before_ms=(100, 100, 100), after_ms=(150, 150, 150), name="whoami"):
    before = load_side(folder, *before_ms, name=name)
    after = load_side(folder, *after_ms, name=name, first_seed=50)
    tolerances = read_tolerances(None, "reads", [])
    return compare_loads(before, after, tolerances=tolerances, objectives=None)


@pytest.fixture(scope="module")
def slower(tmp_path_factory):
    return compared(tmp_path_factory.mktemp("loads"))


@pytest.fixture(scope="module")
def checks(record_of):
    return compare_checks(*(check_figures(record_of(make)) for make in (healthy, broken)))


@pytest.fixture(scope="module")
def page(slower, tmp_path_factory):
    return write_comparison(slower, tmp_path_factory.mktemp("out"))


def test_files_have_the_same_verdict(page):
    stored = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))

    assert stored["verdict"].startswith("Worse: whoami p50")
    assert stored["exit_code"] == 1
    assert page.with_suffix(".md").read_text(encoding="utf-8").startswith("## ❌ Worse: `reads`\n\nwhoami")
    assert "<h1>Worse</h1>" in page.read_text(encoding="utf-8")


def test_each_interval_is_in_json(page):
    stored = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))

    [p50] = [each for each in stored["changes"] if each["measure"] == "p50_ms"]
    low, high = p50["interval"]
    assert low < p50["change"] < high
    assert p50["smallest_visible"] > 0
    assert p50["is_noise_seen"]


def test_names_are_escaped(tmp_path):
    page = write_comparison(compared(tmp_path, name="<img src=x>"), tmp_path / "out")

    assert "<img" not in page.read_text(encoding="utf-8")
    assert "<img" not in re.sub(r"`[^`]*`", "", page.with_suffix(".md").read_text(encoding="utf-8"))


def test_json_matches_its_schema(tmp_path, page, checks):
    schema = Path(__file__).parents[4] / "docs" / "commands.schema.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text(encoding="utf-8")))

    for each in (page, write_comparison(checks, tmp_path / "out")):
        validator.validate(json.loads(each.with_suffix(".json").read_text(encoding="utf-8")))


def test_page_of_checks_lists_new_findings(tmp_path, checks):
    html = write_comparison(checks, tmp_path / "out").read_text(encoding="utf-8")

    assert all(each.fingerprint in html for each in checks.regressions)
    assert "capability.orthogonal" in html
    assert "No capability implies another." in html
    assert "Facts that changed" in html


def test_lost_facts_are_told_with_what_they_need(checks):
    lost = replace(
        checks,
        lost=("run.model-ms",),
        candidate=replace(checks.candidate, reasons={"run.model-ms": ("a model",)}),
    )

    assert "  not tested any more: run.model-ms: needs a model\n" in printed(comparison_report(lost))


def test_terminal_shows_verdict_and_gates_first(slower):
    lines = printed(comparison_report(slower)).strip().splitlines()

    assert lines[0].startswith("Worse  whoami p50")
    assert lines[2].split()[:3] == ["worse", "whoami", "p50"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_a_terminal(slower, width):
    lines = printed(comparison_report(slower), width=width, is_terminal=True).splitlines()

    assert max(map(len, lines)) <= width


def test_large_change_is_a_multiple(tmp_path):
    slow = compared(tmp_path, before_ms=(12, 12, 12), after_ms=(1220, 1220, 1220))

    first = " ".join(printed(comparison_report(slow)).split())

    assert first.startswith("Worse whoami p50 12.")
    assert re.search(r"→ 1,2\d\d ms, 10\d times as slow \([\d.]+ to \d+ times\)", first)


def test_erratic_runs_claim_no_figure(tmp_path):
    erratic = compared(tmp_path, before_ms=(1, 1000), after_ms=(1000, 1))

    assert erratic.verdict is ChangeVerdict.NO_EVIDENCE
    assert "too unlike each other" in " ".join(printed(comparison_report(erratic)).split())
    page = write_comparison(erratic, tmp_path / "compared")
    for path in (page, page.with_suffix(".md")):
        assert "over 900 times" in path.read_text()
        assert not re.search(r"\d{4,}(\.\d)? ?%", path.read_text())


def test_terminal_shows_a_few_findings_of_each_kind(checks):
    one_more = replace(checks.new[0], fact="whoami.user-object")

    text = printed(comparison_report(replace(checks, new=(*checks.new, one_more))))

    assert text.count("\n  new: ") == 4
    assert text.count("\n  new, fails nothing: ") == 2
    assert "… and 1 more fact in compare.html" in text


def test_folder_that_cannot_be_written_is_named(tmp_path, slower):
    (tmp_path / "out").write_text("")

    with pytest.raises(RunRecordError, match=r"out/compare\.html: cannot be written: "):
        write_comparison(slower, tmp_path / "out")
