"""Whether a run still goes on, which ``cleanup`` then leaves alone."""

import os
import subprocess
import sys

import pytest

from knouds_harness.commands.cleanup import _is_running


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_zombie_does_not_run():
    """It is listed until its parent asks how it ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert not _is_running(process.pid)
    assert _is_running(os.getpid())
