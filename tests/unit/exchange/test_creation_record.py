"""The ledger of created workflows: what counts is signed, and whether the run that wrote it still goes on."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.exchange import creation_record
from knouds_harness.exchange.creation_record import Ledger, append, read_ledger
from knouds_harness.exchange.user_state import is_running, process_start

RUN = {"event": "run", "base_url": "http://127.0.0.1:9"}
CREATED = {"event": "created", "number": 1, "slug": "prod-pipeline"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "created.jsonl"


def write(path, *events, ledger=None):
    """Append events like a run does; return its ledger."""
    ledger = ledger or Ledger(write=lambda line: append(path, line))
    for event in events:
        ledger.add({**event, "ledger": ledger.id} if event["event"] == "run" else event)
    return ledger


def names(events):
    return [each.get("slug", each["event"]) for each in events]


def test_own_lines_count_and_foreign_ones_do_not(path):
    ledger = write(path, RUN)
    append(path, json.dumps(CREATED).encode() + b"\n")
    write(path, {**CREATED, "slug": "own"}, ledger=ledger)

    content = read_ledger(path)

    assert names(content.events) == ["run", "own"]
    assert names(content.unsigned) == ["prod-pipeline"]
    assert names(read_ledger(path, is_trusted=True).events) == ["run", "prod-pipeline", "own"]


@pytest.mark.parametrize(
    "altered",
    [
        lambda line: line.replace(b"prod-pipeline", b"prod-pipelinf"),
        lambda line: re.sub(rb'"signature": ".*"', b'"signature": ""', line),
        lambda line: line.replace(b"}\n", b', "slug": "other"}\n'),
        lambda line: b" " + line.replace(b'"slug"', b'"slug" '),
    ],
    ids=["other", "empty", "member", "spaced"],
)
def test_altered_line_does_not_count(path, altered):
    write(path, RUN, CREATED)
    head, line = path.read_bytes().splitlines(keepends=True)

    path.write_bytes(head + altered(line))

    assert names(read_ledger(path).events) == ["run"]
    assert len(read_ledger(path).unsigned) == 1


def test_line_of_another_ledger_of_the_user_does_not_count(path, tmp_path):
    """Neither beside the own header, nor with its header behind the own one."""
    other = tmp_path / "other.jsonl"
    write(other, RUN, CREATED)
    write(path, {**RUN, "base_url": "http://127.0.0.1:10"})

    path.write_bytes(path.read_bytes() + other.read_bytes())

    assert names(read_ledger(path).events) == ["run"]


def test_ledger_of_another_user_does_not_count(path, tmp_path, monkeypatch):
    write(path, RUN, CREATED)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "of-another-user"))

    content = read_ledger(path)

    assert (content.id, content.events) == (None, ())
    assert names(content.unsigned) == ["run", "prod-pipeline"]


@given(cut=st.integers(0, 400), is_ended=st.booleans())
def test_line_that_is_cut_off_takes_no_other_with_it(tmp_path_factory, cut, is_ended):
    """Whether the next process begins a new line, or goes on in the cut one."""
    path = tmp_path_factory.mktemp("ledger") / "created.jsonl"
    ledger = write(path, RUN, CREATED)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    kept = whole[: len(whole) - 1 - cut % (len(last) - 1)]
    path.write_bytes(kept + b"\n" * is_ended)

    write(path, {**CREATED, "slug": "later"}, ledger=ledger)

    is_whole = kept.endswith(b'"}')
    assert names(read_ledger(path).events) == ["run", *["prod-pipeline"] * is_whole, "later"]


def test_several_processes_may_append(path):
    write(path, RUN)
    script = (
        "import sys, pathlib; from knouds_harness.exchange.creation_record import *\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "ledger = Ledger(write=lambda line: append(path, line), id=read_ledger(path).id)\n"
        "for each in range(200): ledger.add({'event': 'created', 'number': each})"
    )

    processes = [subprocess.Popen([sys.executable, "-c", script, path]) for _ in range(2)]

    assert [each.wait() for each in processes] == [0, 0]
    assert len(read_ledger(path).events) == 401


def test_lines_are_unsigned_if_there_is_no_secret(path, monkeypatch):
    """The run goes on; cleanup then says why nothing counts."""

    def missing():
        raise UsageError("/data/secret: Read-only file system")

    monkeypatch.setattr(creation_record, "user_secret", missing)
    write(path, RUN, CREATED)

    content = read_ledger(path)

    assert b"signature" not in path.read_bytes()
    assert names(content.unsigned) == ["run", "prod-pipeline"]
    assert "Read-only" in content.problem


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\xff\xfe" * 500, b"[" * 100_000, b'{"event": 7}\n[]\n7\n', b'{"event": "run", "ledger": 7}\n'],
    ids=["empty", "binary", "deep", "types", "id"],
)
def test_anything_else_is_no_event_that_counts(path, content):
    path.write_bytes(content)

    assert read_ledger(path).events == ()


def test_link_is_neither_read_nor_written(path, tmp_path):
    other = tmp_path / "authorized_keys"
    other.write_text("mine")
    path.symlink_to(other)

    with pytest.raises(RunRecordError, match="is a link"):
        read_ledger(path)
    with pytest.raises(RunRecordError):
        append(path, b"x")
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda path: path.write_bytes(bytes(16_000_001))],
    ids=["folder", "pipe", "huge"],
)
def test_what_is_no_ledger_is_an_error(path, make):
    make(path)

    with pytest.raises(RunRecordError):
        read_ledger(path)


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@ON_LINUX
def test_zombie_process_is_not_running():
    """It is listed until its parent reads its exit status."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child_start = process_start(process.pid)
        assert is_running(process.pid, child_start)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert not is_running(process.pid, child_start)


@ON_LINUX
def test_other_process_with_the_id_is_not_the_run():
    """Ids are given again: in a container, 1 always lives."""
    start = process_start(os.getpid())

    assert is_running(os.getpid(), start)
    assert not is_running(1, start)
    assert not is_running(os.getpid(), f"{start}0")
    assert is_running(os.getpid(), None)


@pytest.mark.parametrize("pid", [0, -1, 2**40, "1", None, 1.5])
def test_what_is_no_process_id_is_not_running(pid):
    assert not is_running(pid, None)
