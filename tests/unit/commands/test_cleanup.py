"""Whether a run is still going on, so that ``cleanup`` does not touch it."""

import os
import subprocess
import sys

import pytest

from knouds_harness.commands.cleanup import _is_running


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_zombie_process_is_not_running():
    """It is listed until its parent reads its exit status."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert not _is_running(process.pid)
    assert _is_running(os.getpid())
