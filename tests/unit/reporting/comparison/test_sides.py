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
def test_kept_summary_has_the_figures_of_its_runs(tmp_path, load_folder, record_of, kind):
    folder = load_folder if kind == "load" else record_of(broken).folder
    side = read_side([folder], baselines=tmp_path)

    path = keep("spring", side, baselines=tmp_path)

    kept = read_side([Path("spring")], baselines=tmp_path)
    assert (kept.loads, kept.checks, kept.name) == (side.loads, side.checks, "spring")
    assert path.stat().st_size < 10_000 or kind == "check"


@pytest.mark.parametrize("name", ["../spring", "", ".hidden", "a b"])
def test_invalid_file_name_is_refused(tmp_path, load_folder, name):
    side = read_side([load_folder], baselines=tmp_path)

    with pytest.raises(UsageError, match="is not a name for a file"):
        keep(name, side, baselines=tmp_path / "baselines")


def test_side_of_several_kinds_or_conformance_runs_is_refused(tmp_path, load_folder, record_of):
    check = record_of(healthy).folder

    with pytest.raises(UsageError, match="they do not compare"):
        read_side([load_folder, check], baselines=tmp_path)
    with pytest.raises(UsageError, match="several conformance runs"):
        read_side([check, check], baselines=tmp_path)


def test_missing_run_names_the_kept_summaries(tmp_path, load_folder):
    """Not other files beside them, such as that of ``--rotate``."""
    keep("spring", read_side([load_folder], baselines=tmp_path), baselines=tmp_path)
    (tmp_path / "staging-nights.json").write_text("{}")

    with pytest.raises(RunRecordError, match=r"kept in .*: spring\.$"):
        read_side([tmp_path / "sprung"], baselines=tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])
    return path


def kept(folder, **members):
    path = keep("spring", read_side([folder], baselines=folder.parent), baselines=folder.parent)
    path.write_text(json.dumps({**json.loads(path.read_text()), **members}))
    return path


def of_another_tool(folder):
    path = folder.parent / "package.json"
    path.write_text(json.dumps({"name": "something else"}))
    return path


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: cut(folder / "load.json").parent, "load.json is damaged"),
        (lambda folder: (folder / "load.json").unlink() or folder, "load.json is missing"),
        (lambda folder: cut(folder / "run.json").parent, "cut short"),
        (of_another_tool, "was not written by knouds-harness"),
        (lambda folder: cut(kept(folder)), "cut short"),
        (lambda folder: kept(folder, format_version=9), "has format 9"),
        (lambda folder: kept(folder, loads=[]), "holds no run"),
    ],
    ids=["cut load", "no load", "cut run", "another tool", "cut summary", "another version", "no runs"],
)
def test_unreadable_side_is_explained(tmp_path, load_folder, break_it, says):
    place = break_it(load_folder)

    with pytest.raises(HarnessError, match=says) as caught:
        read_side([place], baselines=tmp_path)

    assert place.name in str(caught.value)
