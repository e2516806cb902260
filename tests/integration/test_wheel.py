"""The harness as installed: from a wheel, in an empty folder, with no checkout in sight."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from knouds_harness.sandbox.serving import running_sandbox

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what a wheel installs; it goes first on the path of a process."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_and_source_distribution_are_reproducible(tmp_path):
    """Built twice they are the same to the byte, and PyPI would take them."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    for folder in (tmp_path / "first", tmp_path / "second"):
        command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("first", "second")
    )
    twine = [sys.executable, "-m", "twine", "check", "--strict", *(tmp_path / "first").iterdir()]
    checked = subprocess.run(twine, check=False, capture_output=True, text=True)

    assert {Path(name).suffix for name in first} == {".whl", ".gz"}
    assert first == second
    assert checked.returncode == 0, checked.stdout + checked.stderr


def run_installed(installed, cwd, *arguments, variables=None):
    """Run Python with the installed package instead of the checkout's."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", **(variables or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_everything_travels_in_the_wheel(installed, tmp_path):
    """The document, the suite, the built-in target and recordings are found beside the package."""
    code = (
        "from knouds_harness.locations import *; "
        "print(document_path(), suite_path(), builtin_targets_path() / 'sandbox.toml', "
        "recordings_path() / 'getHealth-200-up.json', sep='\\n')"
    )
    paths = [Path(line) for line in run_installed(installed, tmp_path, "-c", code).stdout.splitlines()]

    assert [path for path in paths if not path.is_relative_to(installed) or not path.exists()] == []
    assert len(paths) == 4


def test_check_runs_from_the_wheel(installed, tmp_path):
    """A check runs to its end in an empty folder, and leaves its record there and nothing else."""
    process = run_installed(
        installed, tmp_path, "-m", "knouds_harness", "check", "--family", "authentication", "--seed", "1"
    )

    assert "Contract kept" in process.stdout
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_schemathesis_finds_configuration_and_checks_in_the_wheel(installed, tmp_path):
    """``st run`` works with what is installed alone, and uses our checks."""
    shipped = installed / "knouds_harness" / "shipped"
    program = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
    with running_sandbox(seed=1, faults=("whoami-lacks-email",)) as sandbox:
        variables = {"KNOUDS_API_KEY": sandbox.keys["full"], "KNOUDS_WORKFLOW": "portrait"}
        process = run_installed(
            installed,
            tmp_path,
            *("-c", program, "--config-file", str(shipped / "schemathesis.toml")),
            *("run", str(shipped / "openapi.yaml"), "--url", sandbox.base_url),
            *("--phases", "examples", "--include-operation-id", "getWhoami"),
            variables=variables,
        )

    assert "`knouds_schemas_body`" in process.stdout
    assert process.returncode == 1
