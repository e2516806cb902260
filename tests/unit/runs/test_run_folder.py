"""Files of a run folder are whole or as they were, and a full disk is said once."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

import pytest

from knouds_harness.errors import RunRecordError
from knouds_harness.runs.run_folder import RunFolder, make_run_folder

AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


@pytest.fixture
def lost() -> list[str]:
    """One entry for each time that the disk gave out."""
    return []


@pytest.fixture
def folder(tmp_path, lost) -> RunFolder:
    return RunFolder(tmp_path, on_lost=lambda: lost.append("lost"))


def test_name_of_a_folder_is_a_name_everywhere(tmp_path):
    """Whatever a profile is called."""
    made = make_run_folder(tmp_path, kind="load", target_name="my target/é", at=AT)

    assert made.name == "20261125T093000Z-load-my_target_"
    assert made.is_dir()


def test_file_that_is_replaced_is_whole(folder, tmp_path):
    """Nothing else is left of the writing."""
    folder.replace("run.json", b"old")
    folder.replace("run.json", b"new")

    assert (tmp_path / "run.json").read_bytes() == b"new"
    assert not list(tmp_path.glob("*.part"))


def test_file_grows_by_what_is_appended(folder, tmp_path):
    """Line by line."""
    folder.append("findings.jsonl", b"1\n")
    folder.append("findings.jsonl", b"2\n")

    assert (tmp_path / "findings.jsonl").read_bytes() == b"1\n2\n"


def test_failure_to_write_is_said_once(folder, lost, tmp_path):
    """With the file, and what to do; what follows is silent, so that the run can end."""
    (tmp_path / "run.json").mkdir()

    with pytest.raises(RunRecordError, match=r"run\.json: cannot be written"):
        folder.replace("run.json", b"new")
    folder.replace("run.json", b"newer")

    assert lost == ["lost"]


def test_room_for_the_end_is_given_up_once_the_disk_is_full(folder, tmp_path):
    """So that a run can still say how it ended."""
    (reserve,) = tmp_path.iterdir()
    assert reserve.stat().st_size > 100_000

    folder.give_up_reserve()

    assert list(tmp_path.iterdir()) == []


def test_nobody_else_reads_a_run(tmp_path):
    """Evidence is somebody's data."""
    folder = make_run_folder(tmp_path, kind="check", target_name="x", at=AT)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
