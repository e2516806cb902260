"""``knouds-harness history`` as a user meets it: lists, plots, pages, pruning, and errors."""

import json
import sqlite3
from datetime import datetime, timedelta

import pytest
from checking import knouds
from load_records import load_run, lognormal_seconds, validity
from run_records import START, broken, healthy

from knouds_harness.reporting.comparison.sides import keep, read_side


def history(*arguments, cwd, **environment):
    return knouds("history", *arguments, cwd=cwd, **environment)


def dated(folder, days):
    """Move a run to a number of days after the first hand-made record."""
    file = folder / "run.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    for name in ("started_at", "written_at"):
        stored[name] = (datetime.fromisoformat(stored[name]) + timedelta(days=days)).isoformat()
    file.write_text(json.dumps(stored), encoding="utf-8")
    started_at = START + timedelta(days=days)
    return folder.rename(folder.with_name(f"{started_at:%Y%m%dT%H%M%SZ}-{folder.name.split('-', 1)[1]}"))


@pytest.fixture
def runs(tmp_path):
    """A folder with a healthy and a broken check, from years ago."""
    folder = tmp_path / "reports" / "runs"
    dated(healthy(folder), -2000)
    dated(broken(folder), -1990)
    return folder


def test_newest_runs_are_listed_first(tmp_path, runs):
    process = history(cwd=tmp_path)

    assert process.returncode == 0, process.stderr
    heading, newest, oldest = process.stdout.splitlines()
    assert heading.split() == ["ended", "run", "took", "credits", "seed", "found"]
    assert newest.startswith("broken (1)")
    assert "4 breach" in newest
    assert oldest.startswith("kept (0)")
    assert "\x1b" not in process.stdout


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--outcome", "broken"], 1),
        (["--kind", "check", "--target", "staging"], 2),
        (["--limit", "1"], 1),
        (["--since", "520w"], 2),
    ],
)
def test_filters_choose_runs_by_outcome_kind_and_age(tmp_path, runs, arguments, count):
    process = history(*arguments, cwd=tmp_path)

    assert process.stdout.count("-check-staging") == count


@pytest.mark.parametrize(
    "arguments", [["--since", "7d"], ["--kind", "load"], ["--scenario", "reads"], ["--target", "other"]]
)
def test_no_matching_run_is_not_an_error(tmp_path, runs, arguments):
    process = history(*arguments, cwd=tmp_path)

    assert (process.returncode, process.stdout) == (0, "No matching runs (2 runs in reports/runs).\n")


def test_measure_is_plotted_with_its_changes_marked(tmp_path):
    """In the terminal and on a page; an invalid measurement is shown, and left out of the changes."""
    runs = tmp_path / "reports" / "runs"
    for number in range(12):
        is_valid = number != 2
        folder = load_run(
            runs,
            {"whoami": lognormal_seconds(number, median_ms=100 if number < 7 else 150, seconds=4)},
            outcome="kept" if is_valid else "failed",
            validity=validity(is_valid=is_valid, reasons=() if is_valid else ("Late.",)),
        )
        dated(folder, number)

    process = history("--measure", "p50_ms:whoami", cwd=tmp_path)

    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[1] == "p50_ms:whoami  Response time, percentile 50, over 12 runs. One change."
    assert lines[2] == "reads on staging, open, 10/s, 12 runs"
    (marks,) = (line for line in lines if set(line) == {" ", "^", "x"})
    assert marks.index("^") - marks.index("x") == 5
    (change,) = (line for line in lines if "→" in line)
    assert f"from {START + timedelta(days=7):%Y%m%dT%H%M%SZ}-load-staging-reads" in change
    page = (tmp_path / "reports" / "history.html").read_text(encoding="utf-8")
    assert "One change." in page


def test_terminal_without_block_characters_gets_others(tmp_path, runs):
    process = history("--measure", "exchanges", cwd=tmp_path, PYTHONIOENCODING="ascii", NO_COLOR="1")

    assert process.returncode == 0, process.stderr
    assert "##" in process.stdout


def test_measures_are_listed(tmp_path, runs):
    process = history("--measures", cwd=tmp_path)

    assert "documented facts that are broken, of 2 runs" in process.stdout


def test_pruning_asks_first(tmp_path, runs):
    process = history("--prune", "--older-than", "30d", cwd=tmp_path)

    assert process.returncode == 2
    assert process.stdout.count("would delete: ") == 2
    assert "Agree to that with --yes" in process.stderr
    assert len(list(runs.iterdir())) == 2


def test_pruned_runs_are_still_listed(tmp_path, runs):
    process = history("--prune", "--keep", "1", "--yes", cwd=tmp_path)

    assert process.returncode == 0, process.stderr
    assert "deleted: " in process.stdout
    assert len(list(runs.iterdir())) == 1
    listed = history(cwd=tmp_path).stdout
    assert listed.count("-check-staging") == 2
    assert listed.count("pruned") == 1


def test_runs_of_a_kept_summary_are_not_pruned(tmp_path, runs):
    oldest = min(runs.iterdir())
    baselines = tmp_path / "reports" / "baselines"
    keep("spring", read_side([oldest], baselines=baselines), baselines=baselines)

    process = history("--prune", "--keep", "0", "--yes", cwd=tmp_path)

    assert f"stays: {oldest.name}" in process.stdout
    assert list(runs.iterdir()) == [oldest]
    assert (baselines / "spring.json").exists()


def test_running_run_is_not_pruned(tmp_path, runs):
    """Its counts are seconds old, and it has no end."""
    folder = max(runs.iterdir())
    stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    now = datetime.now(START.tzinfo).isoformat()
    running = {**stored, "outcome": "running", "exit_code": None, "written_at": now}
    (folder / "run.json").write_text(json.dumps(running), encoding="utf-8")

    history("--prune", "--keep", "0", "--yes", cwd=tmp_path)

    assert list(runs.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--measure", "p99_ms:nothing"], 'no measure "p99_ms:nothing"'),
        (["--measure", "exchanges", "--prune"], "do not go together"),
        (["--keep", "3"], "--keep belongs to --prune"),
        (["--prune"], "say what to delete"),
        (["--since", "soon"], "is not an age"),
        (["--runs-folder", "nowhere"], "nowhere: no such folder of runs"),
    ],
)
def test_invalid_options_are_refused(tmp_path, runs, arguments, says):
    process = history(*arguments, cwd=tmp_path)

    assert process.returncode == 2
    assert says in process.stderr
    assert "Traceback" not in process.stderr


def test_damaged_index_is_rebuilt_and_a_foreign_folder_is_named(tmp_path, runs):
    (tmp_path / "reports" / "history.sqlite").write_bytes(b"nonsense " * 200)
    (runs / "strange").mkdir()

    process = history(cwd=tmp_path)

    assert process.returncode == 0
    damaged, strange = process.stderr.splitlines()
    assert "made anew" in damaged
    assert strange.startswith("no readable run: strange ")
    assert process.stdout.count("-check-staging") == 2


def test_locked_index_ends_the_command(tmp_path, runs):
    history(cwd=tmp_path)
    holder = sqlite3.connect(tmp_path / "reports" / "history.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    process = history(cwd=tmp_path)
    holder.close()

    assert process.returncode == 2
    assert "another process holds it" in process.stderr
