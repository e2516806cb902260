"""``knouds-harness record --compare`` and ``--from`` as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from har_files import entry, write_har
from recorded import FOLDER

from knouds_harness.errors import ExitCode

SOME = ("--outcome", "getWhoami-*", "--outcome", "getHealth-*")


def record(*options, cwd, folder=FOLDER):
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "knouds_harness", "record", "--folder", folder, *options],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_sandbox_answers_as_it_was_recorded(tmp_path):
    """Nothing has drifted, and nothing is written."""
    process = record("--compare", *SOME, cwd=tmp_path)

    assert process.returncode == ExitCode.KEPT, process.stdout + process.stderr
    assert process.stdout.splitlines()[-1].endswith(" same")


def test_drift_that_breaks_clients_fails(tmp_path):
    """Each outcome that is otherwise, and why."""
    process = record("--compare", *SOME, "--fault", "whoami-lacks-email", cwd=tmp_path)

    assert process.returncode == ExitCode.BREACH, process.stdout + process.stderr
    assert "breaking: getWhoami-user\n" in process.stdout
    assert "/user/email: the member is gone" in process.stdout


def test_captured_traffic_is_kept_once(tmp_path):
    """What is new is kept, what is known or elsewhere is told."""
    har = write_har(
        tmp_path / "traffic.har",
        entry("https://api.example/api/health", {"status": "ok"}),
        entry("https://cdn.example/app.js", {}),
    )

    first = record("--from", har, cwd=tmp_path, folder="out")
    second = record("--from", har, cwd=tmp_path, folder="out")

    assert first.returncode == second.returncode == ExitCode.KEPT, first.stdout + first.stderr
    assert "new: getHealth-200-captured\n" in first.stdout
    assert "other hosts: 1" in first.stdout
    assert "0 new, 1 known already" in second.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["getHealth-200-captured.json"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--compare", "--update"), "--compare writes nothing"),
        (("--from", "traffic.har", "--compare"), "--from sends nothing"),
        (("--base-url", "https://api.example"), "--base-url goes with --from"),
        (("--from", "nowhere.har"), "nowhere.har: cannot be read"),
        (("--compare",), "holds no recordings to compare with"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(tmp_path, options, says):
    """One sentence, and no traceback."""
    process = record(*options, cwd=tmp_path, folder="empty")

    assert process.returncode == ExitCode.USAGE
    assert says in process.stderr
    assert "Traceback" not in process.stderr
