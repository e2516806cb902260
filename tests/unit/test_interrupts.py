"""Ctrl-C ends a command wherever it comes, and leaves no record of which one part is missing."""

import signal
import subprocess
import sys
from itertools import count

import pytest
from run_records import exchange, finding, start

from knouds_harness.interrupts import end_as_ctrl_c_does, uninterrupted
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import RESERVE_FILE

WRITING = {f"knouds_harness.{name}" for name in ("runs.writer", "runs.counts", "exchange.har")}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers(monkeypatch):
    """The handlers of the command line, for the length of a test."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_as_ctrl_c_does()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupting(line):
    """Return a trace function that sends Ctrl-C at this one of the lines that write the record."""
    passed = count()

    def trace(frame, *_):
        if frame.f_globals.get("__name__") not in WRITING:
            return None
        if next(passed) == line:
            signal.raise_signal(signal.SIGINT)
        return trace

    return trace


@pytest.mark.usefixtures("handlers")
def test_interrupt_at_any_line_leaves_counts_and_files_that_agree(tmp_path):
    shown = exchange(1, "getWhoami")
    for line in count():
        writer = start(tmp_path)
        usual = sys.gettrace()
        try:
            with writer:
                sys.settrace(interrupting(line))
                writer.add_exchange(shown)
                writer.add_finding(finding(shown, "whoami.user-object"))
        except KeyboardInterrupt:
            sys.settrace(usual)
        else:
            sys.settrace(usual)
            break

        assert not (writer.folder / RESERVE_FILE).exists()
        record = read_run(writer.folder)
        assert record.counts.exchanges == len(record.exchange_by_id)
        assert record.gaps == ()
        assert record.outcome == "interrupted"

    assert line > 0  # some were interrupted


@pytest.mark.parametrize("number", ENDING)
def test_signal_at_the_end_of_python_does_not_replace_the_exit_code(number):
    program = (
        "import os, sys\n"
        "from knouds_harness.commands import cli\n"
        "class Last:\n"
        f"    def __del__(self, kill=os.kill, pid=os.getpid()): kill(pid, {int(number)})\n"
        "last = Last()\n"
        "sys.argv[1:] = ['--version']\n"
        "cli.main()\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.usefixtures("handlers")
def test_interrupt_waits_for_the_outermost_end(number):
    ended = []

    @uninterrupted()
    def outer():
        inner()
        ended.append("outer")

    @uninterrupted()
    def inner():
        signal.raise_signal(number)
        ended.append("inner")

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert ended == ["inner", "outer"]
