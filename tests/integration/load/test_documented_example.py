"""The Locust file in the guide runs as printed."""

import re
import socket
import subprocess
import sys
from pathlib import Path

from raw_server import RawServer, serving

GUIDE = Path(__file__).parents[3] / "docs/locust-users.md"


def test_documented_locustfile_runs(tmp_path):
    """For some seconds, on a server whose responses lack the order's id.

    Locust's run time begins when its loop last read the clock, which may be before its imports.
    """

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    [example, *_] = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    locustfile = tmp_path / "shopping.py"
    locustfile.write_text(example.replace("…", "key"))
    with serving(script) as server:
        command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", server.base_url]
        command += ["--headless", "--users", "4", "--spawn-rate", "4"]
        command += ["--run-time", "6s", "--stop-timeout", "5"]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert process.returncode == 1, process.stderr  # Locust's word for failed requests
    assert re.search(r"^\d+ getItem ok response \d+ p50 \d+\.\d\d ms", process.stdout, re.MULTILINE)
    assert re.search(r"^\d+ createOrder wrong 200", process.stdout, re.MULTILINE)
    assert "Traceback" not in process.stderr
