"""The index follows the run folders, survives damage, and says which runs may be deleted."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from load_records import load_run, lognormal_seconds, validity
from run_records import broken, healthy

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.history import index as indexing
from knouds_harness.reporting.history.entry import Entry
from knouds_harness.reporting.history.index import Index, delete_run, kept_runs, plan_pruning
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.record import read_run


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    broken(folder)
    return folder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.sqlite"


def test_entry_has_the_data_of_the_record(runs, path):
    with Index(path) as index:
        index.refresh(runs)
        (entry,) = index.entries()

    record = read_run(next(runs.iterdir()))
    assert (entry.kind, entry.target, entry.outcome, entry.exit_code) == (
        "check",
        "staging",
        RunOutcome.BROKEN,
        1,
    )
    assert (entry.seed, entry.tool_version) == (4711, "0.1.0")
    assert (entry.started_at, entry.duration_s) == (record.started_at, record.duration_s)
    assert entry.findings == record.counts.findings
    assert entry.contract_version == record.setup.document.version
    assert entry.is_sound


def test_broken_facts_are_counted(runs, path):
    """A fact counts once, however many findings it has, and a waived one does not count."""
    with Index(path) as index:
        index.refresh(runs)
        figures = index.figures("facts_in_breach")

    record = read_run(next(runs.iterdir()))
    facts = {each.fact for each in record.findings if each.verdict == "breach" and not each.waived_by}
    assert list(figures.values()) == [len(facts)]


def test_load_figures_are_those_of_the_run(tmp_path, path):
    folder = load_run(tmp_path / "runs", {"whoami": lognormal_seconds(1, seconds=4)})

    with Index(path) as index:
        index.refresh(tmp_path / "runs")
        (entry,) = index.entries()
        p99_ms = index.figures("p99_ms:whoami")
        measures = index.measures()

    load = read_run(folder).load
    assert load is not None
    assert p99_ms == {folder.name: load.results.operations[0].response.percentiles["99"]}
    assert (entry.scenario, entry.setting, entry.is_valid) == ("reads", "open, 10/s", True)
    assert "error_rate:all" in measures


def test_invalid_measurement_is_not_sound(tmp_path, path):
    load_run(
        tmp_path / "runs",
        {"whoami": lognormal_seconds(1, seconds=2)},
        outcome="failed",
        validity=validity(is_valid=False, reasons=("Late.",)),
    )

    with Index(path) as index:
        index.refresh(tmp_path / "runs")
        (entry,) = index.entries()

    assert entry.is_valid is False
    assert not entry.is_sound


def test_second_refresh_reads_nothing_again(runs, path):
    with Index(path) as index:
        index.refresh(runs)
        before = index.entries()
    with Index(path) as index:
        refreshed = index.refresh(runs)

        assert refreshed.read == 0
        assert index.entries() == before


def test_changed_run_is_read_again(runs, path):
    file = next(runs.iterdir()) / "run.json"
    with Index(path) as index:
        index.refresh(runs)
        stored = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**stored, "outcome": "kept", "exit_code": 0}), encoding="utf-8")

        assert index.refresh(runs).read == 1
        assert index.entries()[0].outcome is RunOutcome.KEPT


def test_missing_run_is_kept_as_pruned_until_it_is_back(runs, path, tmp_path):
    folder = next(runs.iterdir())
    with Index(path) as index:
        index.refresh(runs)
        shutil.move(folder, tmp_path / "away")
        index.refresh(runs)
        assert index.entries()[0].is_pruned
        assert index.figures("exchanges")

        shutil.move(tmp_path / "away", folder)
        index.refresh(runs)
        assert not index.entries()[0].is_pruned


def test_unreadable_folders_are_named(runs, path):
    (runs / "empty").mkdir()
    cut = healthy(runs)
    (cut / "run.json").write_text('{"format": ', encoding="utf-8")

    with Index(path) as index:
        refreshed = index.refresh(runs)

        assert sorted(refreshed.unreadable) == sorted(["empty", cut.name])
        assert len(index.entries()) == 1


@pytest.mark.parametrize("content", [b"no database at all, " * 100, None])
def test_damaged_index_is_rebuilt(runs, path, content):
    with Index(path) as index:
        index.refresh(runs)
    whole = path.read_bytes()
    path.write_bytes(content or whole[:4096] + b"\xff" * (len(whole) - 4096))

    with Index(path) as index:
        assert "was damaged" in index.note
        assert index.refresh(runs).read == 1
    assert path.with_name("history.sqlite.damaged").exists()


def test_index_of_another_version_is_rebuilt(runs, path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()

    with Index(path) as index:
        assert index.note
        assert index.refresh(runs).read == 1


def test_locked_index_is_an_error(runs, path, monkeypatch):
    monkeypatch.setattr(indexing, "_LOCK_WAIT_S", 0.01)
    with Index(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(RunRecordError, match="another process holds it"), Index(path) as index:
        index.refresh(runs)
    holder.close()


def test_missing_runs_folder_is_named(tmp_path, path):
    with Index(path) as index, pytest.raises(RunRecordError, match="cannot be read as a folder of runs"):
        index.refresh(tmp_path / "nothing")


def test_index_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "history.sqlite").mkdir()

    with pytest.raises(RunRecordError, match="unable to open"):
        Index(tmp_path / "history.sqlite")


NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


def entry(days, **changes):
    members = {
        "folder": f"{days}-days-ago",
        "kind": "check",
        "target": "staging",
        "started_at": NOW - timedelta(days=days),
        "outcome": RunOutcome.KEPT,
        "exit_code": 0,
        "seed": 1,
        "tool_version": "0.1.0",
        "contract_version": "1",
        "duration_s": 60.0,
        "cost_credits": 0.0,
        "findings": {},
    }
    return Entry(**{**members, **changes})


def to_delete(entries, *, keep=None, days=None, kept=()):
    older_than = None if days is None else timedelta(days=days)
    plan = plan_pruning(entries, now=NOW, keep=keep, older_than=older_than, kept_runs=kept)
    return [each.folder for each in plan.to_delete]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [
        (1, None, ["10-days-ago", "40-days-ago"]),
        (None, 30, ["40-days-ago"]),
        (1, 30, ["40-days-ago"]),
        (3, 0, []),
        (2, 5, ["40-days-ago"]),
    ],
)
def test_count_and_age_both_protect(keep, days, gone):
    """The newest runs are kept however old they are, young ones however many there are."""
    assert to_delete([entry(1), entry(10), entry(40)], keep=keep, days=days) == gone


def test_pruned_runs_do_not_count():
    assert to_delete([entry(1, is_pruned=True), entry(10), entry(40)], keep=1) == ["40-days-ago"]


def test_runs_of_kept_summaries_are_kept():
    assert to_delete([entry(10), entry(40)], keep=0, kept={"40-days-ago"}) == ["10-days-ago"]


def test_unfinished_run_is_kept_while_it_may_still_write():
    writing = entry(0, exit_code=None, folder="writing")
    killed = entry(2, exit_code=None, folder="killed")

    assert to_delete([writing, killed], keep=0) == ["killed"]


def test_unreadable_kept_summary_is_an_error(tmp_path):
    (tmp_path / "spring.json").write_text("{", encoding="utf-8")

    with pytest.raises(RunRecordError, match=r"spring\.json"):
        kept_runs(tmp_path)


def test_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "40-days-ago").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RunRecordError, match=r"cannot be deleted: .*symbolic link"):
        delete_run(entry(40), tmp_path / "runs")

    assert (tmp_path / "elsewhere").is_dir()
