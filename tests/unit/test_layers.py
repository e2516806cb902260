"""The sandbox is independent: a server made from the document that tests it would prove nothing."""

import subprocess
import sys

SERVE_AND_TELL = """
import sys

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

import urllib.request
from knouds_sandbox.serving import running_sandbox

with running_sandbox(seed=1) as sandbox:
    urllib.request.urlopen(sandbox.base_url + "/api/health").read()

print(*sorted(name for name in sys.modules if name.split(".")[0] == "knouds_harness"))
print(*(path for path in opened if "openapi" in path or "/spec/" in path))
"""


def test_sandbox_reads_neither_harness_nor_document():
    """A running sandbox has not imported the harness, and not opened a document."""
    command = [sys.executable, "-c", SERVE_AND_TELL]
    modules, documents = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[:2]

    assert modules == ""
    assert documents == ""
