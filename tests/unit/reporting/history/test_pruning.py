"""What may go: old enough, beyond the newest, and needed by nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.history.entry import Entry
from knouds_harness.reporting.history.index import delete_run, kept_runs, plan_pruning
from knouds_harness.runs.findings import RunOutcome

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


def doomed(entries, *, keep=None, days=None, kept=()):
    older_than = None if days is None else timedelta(days=days)
    plan = plan_pruning(entries, now=NOW, keep=keep, older_than=older_than, kept_runs=kept)
    return [each.folder for each in plan.doomed]


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
    """What is among the newest stays however old, what is young stays however many there are."""
    assert doomed([entry(1), entry(10), entry(40)], keep=keep, days=days) == gone


def test_what_is_gone_counts_no_more():
    assert doomed([entry(1, is_pruned=True), entry(10), entry(40)], keep=1) == ["40-days-ago"]


def test_runs_of_kept_summaries_stay():
    assert doomed([entry(10), entry(40)], keep=0, kept={"40-days-ago"}) == ["10-days-ago"]


def test_a_run_without_an_end_stays_while_it_may_write():
    writing = entry(0, exit_code=None, folder="writing")
    killed = entry(2, exit_code=None, folder="killed")

    assert doomed([writing, killed], keep=0) == ["killed"]


def test_a_kept_summary_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "spring.json").write_text("{", encoding="utf-8")

    with pytest.raises(RunRecordError, match=r"spring\.json"):
        kept_runs(tmp_path)


def test_no_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "40-days-ago").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RunRecordError, match=r"cannot be deleted: .*symbolic link"):
        delete_run(entry(40), tmp_path / "runs")

    assert (tmp_path / "elsewhere").is_dir()
