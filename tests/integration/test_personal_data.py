"""What belongs to others stays out of files, and what opens the sandbox out of the list of processes."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from checking import knouds
from clocks import wait_until
from example_targets import write_profile

from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import running_sandbox

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("check", "--quick", "--family", "usage", "--family", "schemas", "--family", "authentication"),
        ("load", "mixed", "--users", "4", "--duration", "3s", "--verify", "--quiet"),
    ],
    ids=lambda command: command[0],
)
def test_values_of_members_that_are_to_be_hidden_are_in_no_file(tmp_path, command):
    """And the verdict is the same: one value has one name."""
    with running_sandbox() as sandbox:
        profile = write_profile(tmp_path, sandbox)
        profile.write_text('redact = ["email", "userId"]\n' + profile.read_text(encoding="utf-8"))
        headers = {"x-api-key": sandbox.keys["full"]}
        user = httpx.get(f"{sandbox.base_url}/api/whoami", headers=headers).json()["user"]
        runs = tmp_path / "runs"
        ended = knouds(*command, "--target", profile, "--runs-folder", runs, cwd=tmp_path)

    assert ended.returncode in (ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT), ended.stdout + ended.stderr
    written = b"".join(path.read_bytes() for path in runs.rglob("*") if path.is_file())
    assert b"getWhoami" in written
    assert user["email"].encode() not in written
    if command[0] == "check":
        assert b"{{email:1}}" in written


@ON_LINUX
@pytest.mark.slow
@pytest.mark.parametrize("command", [("demo",), ("load", "reads", "--rate", "5", "--duration", "20s")])
def test_control_token_is_among_nobodys_arguments(tmp_path, command):
    """Of this machine: whoever sees it could mint keys."""
    process = subprocess.Popen(
        [sys.executable, "-m", "knouds_harness", *command],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    own = psutil.Process(process.pid)
    try:
        wait_until(lambda: tokens_of(own))
        (token,) = tokens_of(own)
        seen = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                seen.add(path.read_bytes())
    finally:
        process.terminate()
        process.wait(timeout=60)

    assert any(b"knouds_sandbox" in each for each in seen)
    assert not [each for each in seen if token.encode() in each]


def tokens_of(process: psutil.Process) -> set[str]:
    """The control tokens in the environment of its children."""
    found = set()
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            found.add(child.environ().get("KNOUDS_SANDBOX_SERVED_TOKEN", ""))
    return found - {""}
