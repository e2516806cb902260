"""What the guide of the sandbox shows can be typed: each curl line, in order, on one sandbox."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from knouds_sandbox.serving import running_sandbox

GUIDE = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (curl .*)", GUIDE.replace(" \\\n", " "), re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_lines_do_what_they_show():
    """A success each, or the outcome that was asked for."""
    with running_sandbox(control_token="a-token", prefer=True, page=True) as sandbox:
        variables = {"TOKEN": "a-token", "KNOUDS_SANDBOX_KEY_FULL": sandbox.keys["full"]}
        statuses = []
        for line in LINES:
            command = line.replace("http://127.0.0.1:8080", sandbox.base_url)
            process = subprocess.run(
                ["/bin/sh", "-c", f"{command} -s -o /dev/null -w '%{{http_code}}'"],
                env=variables | {"PATH": "/usr/local/bin:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            )
            statuses.append((line.partition("8080")[2].split()[0], process.stdout))

    assert statuses == [
        ("/api/whoami", "200"),
        ("/api/models/suno-v5/run", "402"),
        ("/__sandbox__/reset", "200"),
        ("/__sandbox__/accounts", "201"),
        ("/__sandbox__/keys", "201"),
        ("/__sandbox__/state", "200"),
    ]
