"""``knouds-harness selftest`` in its shortest form prints every row, whatever the results."""

import subprocess
import sys

import pytest

from knouds_harness.errors import ExitCode


@pytest.mark.nightly
def test_selftest_prints_every_row():
    """Each request is counted, and the exit code agrees with the rows."""
    command = [sys.executable, "-m", "knouds_harness", "selftest", "--seconds", "1", "--rate", "50"]

    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    lines = process.stdout.splitlines()
    assert [line for line in lines if "50 arrivals per second: rate" in line]
    shown = ["p50", "p75", "p90", "p95", "p99", "p99.9", "max"]
    assert [line.split()[2] for line in lines if "50/s: " in line] == shown
    assert [line for line in lines if "requests counted" in line and "100 of 100 seen" in line], (
        process.stdout
    )
    assert [line for line in lines if "processor time of a request" in line]
    is_met = not [line for line in lines if line.startswith("no ")]
    assert process.returncode == (ExitCode.KEPT if is_met else ExitCode.INVALID_MEASUREMENT), process.stderr


def test_invalid_rate_is_refused():
    command = [sys.executable, "-m", "knouds_harness", "selftest", "--rate", "0"]

    process = subprocess.run(command, capture_output=True, text=True, check=False)

    assert process.returncode == ExitCode.USAGE
    assert "Traceback" not in process.stderr
