"""Run folders and kept summaries as sides of a comparison."""

import json
from pathlib import Path

import pytest
from load_records import load_run, lognormal_seconds
from run_records import broken, healthy

from knouds_harness.errors import HarnessError, RunRecordError, UsageError
from knouds_harness.reporting.comparison.sides import keep, read_side


@pytest.fixture
def load_folder(tmp_path):
    return load_run(tmp_path / "runs", {"whoami": lognormal_seconds(1, seconds=5)})


@pytest.mark.parametrize("kind", ["load", "check"])
def test_kept_summary_says_what_its_runs_said(tmp_path, load_folder, kind):
    """Read by its name, it brings the same figures as the folders."""
    folder = load_folder if kind == "load" else broken(tmp_path / "checks")
    side = read_side([folder], baselines=tmp_path)

    keep("spring", side, baselines=tmp_path)

    kept = read_side([Path("spring")], baselines=tmp_path)
    assert (kept.loads, kept.checks, kept.name) == (side.loads, side.checks, "spring")


def test_kept_summary_is_small(tmp_path, load_folder):
    """Some kilobytes a run, so that it can be kept in a repository."""
    path = keep("spring", read_side([load_folder], baselines=tmp_path), baselines=tmp_path)

    assert path.stat().st_size < 10_000


@pytest.mark.parametrize("name", ["../spring", "", ".hidden", "a b"])
def test_name_that_is_no_file_name_is_refused(tmp_path, load_folder, name):
    """Nothing is written outside of the folder."""
    side = read_side([load_folder], baselines=tmp_path)

    with pytest.raises(UsageError, match="is not a name for a file"):
        keep(name, side, baselines=tmp_path / "baselines")


def test_load_and_conformance_do_not_mix(tmp_path, load_folder):
    """One side is of one kind."""
    with pytest.raises(UsageError, match="they do not compare"):
        read_side([load_folder, healthy(tmp_path / "checks")], baselines=tmp_path)


def test_several_conformance_runs_are_no_side(tmp_path):
    """Findings are compared one run with one."""
    folders = [healthy(tmp_path / name) for name in ("a", "b")]

    with pytest.raises(UsageError, match="several conformance runs"):
        read_side(folders, baselines=tmp_path)


def test_missing_run_names_what_is_kept(tmp_path, load_folder):
    """Who mistypes a name sees those there are."""
    keep("spring", read_side([load_folder], baselines=tmp_path), baselines=tmp_path)

    with pytest.raises(RunRecordError, match=r"kept in .*: spring"):
        read_side([tmp_path / "sprung"], baselines=tmp_path)


def _cut_load(folder):
    path = folder / "load.json"
    path.write_bytes(path.read_bytes()[:100])
    return folder


def _no_load(folder):
    (folder / "load.json").unlink()
    return folder


def _cut_run(folder):
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    return folder


def _foreign(folder):
    path = folder.parent / "package.json"
    path.write_text(json.dumps({"name": "something else"}))
    return path


def _cut_summary(folder):
    path = keep("cut", read_side([folder], baselines=folder.parent), baselines=folder.parent)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _other_version(folder):
    path = keep("old", read_side([folder], baselines=folder.parent), baselines=folder.parent)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 9}))
    return path


def _without_runs(folder):
    path = keep("bare", read_side([folder], baselines=folder.parent), baselines=folder.parent)
    path.write_text(json.dumps({**json.loads(path.read_text()), "loads": []}))
    return path


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (_cut_load, "load.json is damaged"),
        (_no_load, "load.json is missing"),
        (_cut_run, "cut short"),
        (_foreign, "is not a summary that knouds-harness kept"),
        (_cut_summary, "cut short"),
        (_other_version, "of another version"),
        (_without_runs, "holds no run"),
    ],
)
def test_what_cannot_be_read_is_named_in_words(tmp_path, load_folder, break_it, says):
    """A missing, cut, foreign or older file gives one message that names it."""
    place = break_it(load_folder)

    with pytest.raises(HarnessError, match=says) as caught:
        read_side([place], baselines=tmp_path)

    assert place.name in str(caught.value)
