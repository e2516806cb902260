"""What docs/extending.md shows works in an empty folder, as it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sampling import sampled

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
SHOWN = [
    part.partition("\n")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder with the files that the page shows."""
    folder = tmp_path_factory.mktemp("user")
    for name, text in FILES:
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("command", "output"), sampled([(each[0], each[2]) for each in SHOWN], every=4))
def test_command_prints_what_is_shown(folder, command, output):
    """Each line of the page after the dots, in this order."""
    programs = Path(sys.executable).parent
    process = subprocess.run(  # noqa: S602 - the page's own lines, with their wildcards
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    printed = process.stdout
    for line in output.strip().removeprefix("…\n").splitlines():
        assert line in printed, process.stdout + process.stderr
        printed = printed[printed.index(line) :]
