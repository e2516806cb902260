"""The Locust file in the guide runs as printed, in one process or several."""

import re
import sys
from pathlib import Path

import pytest
from checking import run_program
from example_targets import free_port
from raw_server import always, serving

GUIDE = Path(__file__).parents[3] / "docs/locust-users.md"
WORKERS = ("--processes", "2", "--master-bind-host", "127.0.0.1")
# As on a busy machine: Locust's master waits for half a second.
SLOW_END = """
import gevent
from locust.runners import WorkerRunner

@events.test_stopping.add_listener
def stop_slowly(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        gevent.sleep(1.5)
"""


@pytest.mark.parametrize("workers", [(), WORKERS], ids=["alone", "workers"])
def test_documented_locustfile_counts_each_request_once(tmp_path, workers):
    """For some seconds, on a server whose responses lack the order's id.

    Locust's run time begins when its loop last read the clock, which may be before its imports.
    """
    [example, *_] = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    locustfile = tmp_path / "shopping.py"
    locustfile.write_text(example.replace("…", "key") + SLOW_END)
    port = str(free_port())
    ports = ("--master-bind-port", port, "--master-port", port) if workers else ()
    with serving(always(b"{}")) as server:
        command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", server.base_url]
        command += ["--headless", "--users", "4", "--spawn-rate", "4", *workers, *ports]
        command += ["--run-time", "6s", "--stop-timeout", "5"]
        process = run_program(*command)

    assert process.returncode == 1, process.stderr  # Locust's word for failed requests
    assert "Traceback" not in process.stderr
    ok = re.findall(r"^\d+ getItem ok response (\d+) p50 \d+\.\d\d ms", process.stdout, re.MULTILINE)
    wrong = re.findall(r"^\d+ createOrder wrong 200 .* (\d+)$", process.stdout, re.MULTILINE)
    assert sum(map(int, ok)) == sum(b" /api/items/17 " in each for each in server.requests) > 0
    assert sum(map(int, wrong)) == sum(b" /api/orders " in each for each in server.requests) > 0
