"""``knouds-harness record`` as a user meets it: what is kept, what is printed, and the cost."""

import json
import re
import shutil

import pytest
from checking import knouds
from example_targets import SmallProfile, write_profile
from recorded import FOLDER, recordings

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.recording import load_recordings


def record(*options, cwd):
    return knouds("record", "--folder", "out", *options, cwd=cwd)


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "out")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_recordings_of_the_repository_can_be_recorded_again(tmp_path, copied):
    """From a sandbox with another seed, on another day: no substance changes, so no file does."""
    before = contents(copied)

    process = record("--update", "--seed", "77", cwd=tmp_path)

    assert process.returncode == ExitCode.KEPT, process.stdout + process.stderr
    assert f"{len(before)} of {len(before)} outcomes recorded, {len(before)} unchanged" in process.stdout
    assert contents(copied) == before


def test_existing_recordings_are_kept(tmp_path):
    first = record("--outcome", "getWhoami-200-us*", "--outcome", "getWhoami-user", cwd=tmp_path)
    second = record("--outcome", "getWhoami-*", cwd=tmp_path)

    assert "1 of 1 outcomes recorded, 1 new" in first.stdout
    again = record("--outcome", "getWhoami-user", "--update", cwd=tmp_path)
    assert "1 there already" in second.stdout
    assert "1 outcomes to record (1 of them again), 0 there already" in again.stdout
    names = load_recordings(tmp_path / "out").keys()
    assert names == {name for name in recordings() if name.startswith("getWhoami-")}


def test_change_is_shown_and_rewritten(tmp_path, copied):
    before = contents(copied)

    process = record(
        "--update", "--legal", "own,create=200-slug", "--outcome", "createWorkflow-created", cwd=tmp_path
    )

    assert process.returncode == ExitCode.KEPT
    assert "changed: createWorkflow-200-created\n    response status is 200, was 201\n" in process.stdout
    changed = {
        name
        for name in before.keys() | contents(copied).keys()
        if before.get(name) != contents(copied).get(name)
    }
    assert changed == {"createWorkflow-201-created.json", "createWorkflow-200-created.json"}


@pytest.mark.parametrize(
    ("fault", "outcomes", "says", "recorded"),
    [
        ("auth-revoked-accepted", "getWhoami-*d", "getWhoami-revoked: it breaks", "getWhoami-401-unapproved"),
        # The profile says whose the workflows of a list are.
        ("workflows-list-shows-foreign", "listWorkflows-summaries", "listWorkflows-summaries: it breaks", ""),
    ],
)
def test_wrong_response_is_reported_and_not_recorded(tmp_path, fault, outcomes, says, recorded):
    process = record("--fault", fault, "--outcome", outcomes, cwd=tmp_path)

    assert process.returncode == ExitCode.BREACH
    assert f"not recorded: {says}" in process.stdout
    assert " ".join(each.stem for each in (tmp_path / "out").glob("*.json")) == recorded


def test_credits_are_spent_only_with_yes_and_within_the_limit(sandbox, tmp_path):
    """On another server the plan is shown, and nothing is run before --yes."""
    profile = str(write_profile(tmp_path, sandbox))
    refused = record("--target", profile, "--outcome", "run*-result", cwd=tmp_path)
    stopped = record(
        "--target", profile, "--outcome", "run*-result", "--yes", "--credits", "10", cwd=tmp_path
    )

    assert refused.returncode == ExitCode.USAGE
    assert "2 outcomes to record" in refused.stdout
    assert re.search(r"error: recording may cost \d+ credits\n  Agree to that with --yes", refused.stderr)
    assert stopped.returncode == ExitCode.GUARD
    assert "more credits than the 10 that --credits allows" in stopped.stdout
    assert "1 of 2 outcomes recorded" in stopped.stdout
    (name,) = load_recordings(tmp_path / "out")
    assert sandbox.base_url not in (tmp_path / "out" / f"{name}.json").read_text()


def test_missing_needs_of_a_profile_are_listed(sandbox, tmp_path):
    poor = SmallProfile(folder=tmp_path, sandbox=sandbox, limits='allow = ["read"]')
    poor.key("only-workflow-read", ["workflow:read"], user="ada", tier="enterprise")

    process = record("--target", poor.written(), cwd=tmp_path)

    assert process.returncode == ExitCode.KEPT
    assert re.search(r'6 outcomes need a key with state = "legacy": .*getWhoami-legacy', process.stdout)
    assert ' need "run" in limits.allow: ' in process.stdout
    assert "that costs at most 0 credits." in process.stdout
    assert {each.exchange.request.method for each in load_recordings(tmp_path / "out").values()} == {"GET"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--outcome", "getWhoami-nothing"), 'no outcome "getWhoami-nothing"'),
        (("--fault", "none-such"), "none-such"),
        (("--credits", "-1"), "--credits"),
        (("--outcome", "getHealth-up", "--folder", "file/deeper"), "error: file/deeper"),
    ],
)
def test_misuse_ends_with_exit_code_2_and_a_message(tmp_path, options, says):
    (tmp_path / "file").touch()

    process = record(*options, cwd=tmp_path)

    assert process.returncode == ExitCode.USAGE
    assert says in process.stderr


def test_recordings_are_of_the_builtin_sandbox():
    assert {each.origin.server for each in recordings().values()} == {"built-in sandbox"}
    assert len(recordings()) >= 70
    assert all(
        json.loads((FOLDER / f"{name}.json").read_text())["origin"]["seed"] == 0 for name in recordings()
    )


def test_folders_are_compared(tmp_path, copied):
    (copied / "getHealth-200-up.json").unlink()

    process = record("--compare", str(FOLDER), "out", cwd=tmp_path)

    assert process.returncode == ExitCode.KEPT
    assert "gone: getHealth-200-up\n" in process.stdout
    assert "0 changed, 1 gone, 0 new" in process.stdout
