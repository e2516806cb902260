"""What docs/tutorial.md shows works in an empty folder, as it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from clocks import wait_until
from example_targets import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.mark.nightly  # two checks of a whole server
def test_commands_print_what_the_page_shows(tmp_path):
    """Each in turn, the sandboxes in a terminal of their own; dots stand for anything."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.replace("8080", str(free_port())), re.DOTALL)
    shown = [part.partition("\n") for block in blocks for part in re.split(r"(?m)^\$ ", block)[1:]]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    printed = tmp_path / "printed.txt"
    server = None
    try:
        for command, _, output in shown:
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                environ[name] = value
                continue
            if server and " sandbox " in command:
                server.terminate()
                server.wait()
            with printed.open("w") as file:
                process = subprocess.Popen(  # noqa: S602 - the page's own lines, with their wildcards
                    f"exec {command}", shell=True, cwd=tmp_path, env=environ, stdout=file
                )
            if " sandbox " in command:
                server = process
                wait_until(partial(is_shown, f"{output}…What comes in", printed))
            else:
                process.wait(timeout=240)
                assert is_shown(output, printed), printed.read_text(encoding="utf-8")
    finally:
        if server:
            server.kill()
            server.wait()


def is_shown(output: str, printed: Path) -> bool:
    """Whether a page's output is what was printed, but for what dots stand for."""
    pattern = re.escape(output.strip()).replace("…", ".*")
    return re.search(pattern, printed.read_text(encoding="utf-8"), re.DOTALL) is not None
