"""``knouds-harness record --from`` as a user meets it."""

import pytest
from checking import knouds
from exchanges import entry, write_har

from knouds_harness.errors import ExitCode


def record(*options, cwd, folder):
    return knouds("record", "--folder", folder, *options, cwd=cwd)


def test_captured_traffic_is_kept_once(tmp_path):
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
        (("--from", "traffic.har", "--update"), "--from sends nothing"),
        (("--base-url", "https://api.example"), "--base-url goes with --from"),
        (("--from", "nowhere.har"), "nowhere.har: cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(tmp_path, options, says):
    process = record(*options, cwd=tmp_path, folder="empty")

    assert process.returncode == ExitCode.USAGE
    assert says in process.stderr
    assert "Traceback" not in process.stderr
