"""Whether a run is still going on, so that ``cleanup`` does not touch it."""

import os
import subprocess
import sys

import pytest

from knouds_harness.exchange.creation_record import is_running, process_start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_zombie_process_is_not_running():
    """It is listed until its parent reads its exit status."""
    start = process_start(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child_start = process_start(process.pid)
        assert is_running(process.pid, child_start)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert not is_running(process.pid, child_start)
    assert is_running(os.getpid(), start)


def test_other_process_with_the_id_is_not_the_run():
    """Ids are given again: in a container, 1 always lives."""
    start = process_start(os.getpid())

    assert not is_running(1, start)
    assert not is_running(os.getpid(), f"{start}0")
    assert is_running(os.getpid(), None)


@pytest.mark.parametrize("pid", [0, -1, 2**40, "1", None, 1.5])
def test_what_is_no_process_id_is_not_running(pid):
    assert not is_running(pid, None)
