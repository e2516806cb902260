"""gevent's patches reach only processes that ask for them."""

import subprocess
import sys

import pytest

EVERYTHING_ELSE = """
import pkgutil, sys, threading
import knouds_harness

for module in pkgutil.walk_packages(knouds_harness.__path__, "knouds_harness."):
    if not module.name.startswith("knouds_harness.load") and not module.name.endswith("__main__"):
        __import__(module.name)
print(*(name for name in ("locust", "gevent", "knouds_harness.load.users") if name in sys.modules))
print(threading.active_count())
"""

CLIENT_AND_HISTOGRAMS = """
import sys
import knouds_harness.measures.hdr_logs
import knouds_harness.load.client.http_client, knouds_harness.runs.load_results
from gevent import monkey

print("locust" in sys.modules, monkey.is_module_patched("socket"))
"""


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        pytest.param(EVERYTHING_ELSE, "\n1\n", id="everything else, which starts nothing either"),
        pytest.param(CLIENT_AND_HISTOGRAMS, "False False\n", id="client and histograms"),
    ],
)
def test_imports_outside_of_load_patch_nothing(code, printed):
    """Only ``load`` imports Locust or gevent, and its HTTP client does not patch the process."""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (process.stdout, process.stderr) == (printed, "")
