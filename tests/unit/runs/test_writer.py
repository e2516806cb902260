"""A record is written while the run goes on, and survives however the run ends."""

import errno
import os
import stat
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from run_records import SETUP, START, TARGET, SteppingClock, add_finding, exchange, finding, start

from knouds_harness import files
from knouds_harness.errors import RunRecordError
from knouds_harness.exchange.har import HarWriter
from knouds_harness.runs.findings import INTERMEDIARY, RunOutcome, script_file
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import FINDINGS_FILE, RunWriter, make_run_folder
from knouds_harness.targets.budget import Budget

COST = "run.cost-is-credits"


def test_folder_is_named_for_time_kind_and_target(tmp_path):
    """Runs of one second have numbers; no other user can read the folder."""
    first, second, third = (
        make_run_folder(tmp_path, kind="load", target_name="my target/é", at=START) for _ in range(3)
    )

    assert first.name == "20261125T093000Z-load-my_target_"
    assert [second.name, third.name] == [f"{first.name}-2", f"{first.name}-3"]
    assert stat.S_IMODE(first.stat().st_mode) == 0o700


def test_repeated_finding_is_written_once_and_counted(tmp_path):
    with start(tmp_path) as writer:
        for number in range(1, 1001):
            writer.add_finding(finding(exchange(number, "runWorkflow", body={"cost": "12"}), COST))
        writer.finish("broken", 1)

    (found,) = read_run(writer.folder).findings
    assert (found.count, found.exchange_id) == (1000, "x00001")


@pytest.mark.parametrize(
    ("check", "observed"), [(INTERMEDIARY, "a 503"), ("envelopes.form", "a 503; in each of 2")]
)
def test_finding_says_which_requests_show_it_but_for_a_gateways(tmp_path, check, observed):
    found = replace(finding(exchange(1, "runWorkflow"), "whoami.user-object"), check=check, observed="a 503")
    with start(tmp_path) as writer:
        writer.add_finding(found)
        writer.explain(found.fingerprint, "in each of 2")

    assert [each.observed for each in read_run(writer.folder).findings] == [observed]


@pytest.mark.parametrize(("lines", "is_file"), [(10, False), (12, True)])
def test_long_script_has_its_own_file(tmp_path, lines, is_file):
    """For a shell to run; the finding also keeps it."""
    script = "\n".join(["sh -eu <<'END'", *["curl one"] * (lines - 2), "END"])
    shown = exchange(1, "getWhoami")
    found = replace(finding(shown, "whoami.user-object"), steps=("x00001", "x00002"), script=script)

    with start(tmp_path) as writer:
        kept = writer.add_finding(found)

    path = writer.folder / script_file(found)
    assert kept.script == script
    assert kept.has_long_script is is_file
    assert (path.read_text() if path.exists() else "") == (f"{script}\n" if is_file else "")


def test_clock_set_back_does_not_make_the_duration_negative(tmp_path):
    instants = iter([START, START, *[START - timedelta(hours=1)] * 9])
    seconds = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    with RunWriter(
        tmp_path, kind="check", target=TARGET, setup=SETUP, now=instants.__next__, clock=seconds.__next__
    ) as writer:
        writer.finish("kept", 0)

    record = read_run(writer.folder)
    assert record.started_at == START
    assert record.duration_s == 3.0


def test_counts_are_written_at_most_once_a_second(tmp_path):
    clock = SteppingClock(step_s=0.1)
    with start(tmp_path, clock=clock) as writer:
        path = writer.folder / "run.json"
        seen = set()
        for number in range(100):
            writer.add_exchange(exchange(number, "getWhoami"))
            seen.add(path.stat().st_ino)
        seconds = clock.now_s

    assert len(seen) <= seconds + 1


def test_run_left_without_an_end_is_interrupted(tmp_path):
    def run():
        with start(tmp_path) as writer:
            add_finding(writer, exchange(1, "runWorkflow", body={"cost": "12"}), COST)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()

    record = read_run(next(tmp_path.iterdir()))
    assert (record.outcome, record.exit_code) == (RunOutcome.INTERRUPTED, 130)
    assert record.note == "KeyboardInterrupt"
    assert [each.fact for each in record.findings] == [COST]
    assert record.counts.exchanges == 1


@pytest.fixture
def disk(monkeypatch):
    """Refuse every write while it ``is_full``."""
    disk = SimpleNamespace(is_full=lambda: False)

    def on_disk(write):
        def write_if_there_is_room(*arguments):
            if disk.is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*arguments)

        return write_if_there_is_room

    monkeypatch.setattr(HarWriter, "add", on_disk(HarWriter.add))
    monkeypatch.setattr(files, "_write", on_disk(files._write))  # noqa: SLF001 - a disk cannot be filled here
    return disk


def test_full_disk_is_reported_once_and_keeps_the_record(tmp_path, disk):
    """Later writes are silent, so that cleaning up on the target goes on."""
    with start(tmp_path) as writer:
        add_finding(writer, exchange(1, "runWorkflow", body={"cost": "12"}), COST)
        disk.is_full = lambda: True

        with pytest.raises(RunRecordError) as stopped:
            writer.add_exchange(exchange(2, "getWhoami"))
        writer.add_exchange(exchange(3, "getWhoami"))
        writer.finish("stopped", 2, note=str(stopped.value))

    assert str(stopped.value) == (
        f"{writer.folder / 'exchanges.har'}: cannot be written: No space left on device\n"
        "  What was written until then is kept. Make room there, or choose another --runs-folder."
    )
    record = read_run(writer.folder)
    assert list(record.exchange_by_id) == ["x00001"]
    assert len(record.findings) == 1
    assert not list(writer.folder.glob("*.part"))


def test_full_disk_leaves_room_for_the_reason_of_the_end(tmp_path, disk):
    with start(tmp_path) as writer:
        (reserve,) = writer.folder.glob("room-*")
        is_set_aside = reserve.stat().st_size > 100_000
        add_finding(writer, exchange(1, "runWorkflow", body={"cost": "12"}), COST)
        findings = writer.folder / FINDINGS_FILE
        whole = findings.read_bytes()
        findings.write_bytes(whole + whole[:20])  # the part of a line that a full disk keeps
        disk.is_full = reserve.exists
        with pytest.raises(RunRecordError):
            writer.add_exchange(exchange(2, "getWhoami"))
        writer.finish("stopped", 2, note="No space left on device")

    record = read_run(writer.folder)
    assert is_set_aside
    assert findings.read_bytes() == whole
    assert (record.outcome, record.note) == (RunOutcome.STOPPED, "No space left on device")


def test_runs_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")

    with pytest.raises(
        RunRecordError, match=r"no run folder can be made there: File exists\n.*--runs-folder"
    ):
        start(tmp_path / "runs")


def test_responses_and_cost_are_counted(tmp_path):
    with start(tmp_path) as writer:
        writer.add_exchange(exchange(1, "runWorkflow", body={"cost": 12.5}))
        writer.add_exchange(exchange(2, "runWorkflow", status=402, body={"code": "INSUFFICIENT_CREDITS"}))
        writer.add_exchange(exchange(3, "getWhoami", status=None, raw=b""))
        writer.budget = Budget(20)
        writer.budget.settle(writer.budget.reserve(15), 12.5)
        writer.finish("kept", 0)

    assert not list(writer.folder.glob("room-*"))
    counts = read_run(writer.folder).counts
    assert counts.answers == {"200": 1, "402": 1, "none": 1}
    assert counts.cost_credits == 12.5
