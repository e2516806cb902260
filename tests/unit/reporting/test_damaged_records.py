"""Reports of a run folder with parts that are missing, cut short or of another version."""

import json

import pytest
from loaded_runs import loaded
from run_records import broken

from knouds_harness.errors import RunRecordError
from knouds_harness.reporting.render import render_all, render_readable


def message_of(folder):
    with pytest.raises(RunRecordError) as caught:
        render_all(folder)
    paths = render_readable(folder, caught.value)
    return str(caught.value), paths.html.read_text(encoding="utf-8") if paths else None


def without(folder):
    (folder / "run.json").unlink()


def cut_short(folder):
    path = folder / "run.json"
    path.write_bytes(path.read_bytes()[:2000])


def of_a_later_version(folder):
    path = folder / "run.json"
    stored = json.loads(path.read_bytes())
    path.write_text(json.dumps({**stored, "format_version": 99, "results": {"by": "fact"}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without, "holds no run.json, so it is not a run folder"),
        (cut_short, "run.json: is cut short or is not JSON"),
        (of_a_later_version, "run.json: has format 99, and this version reads format 1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_check_is_rendered_without_a_readable_run_json(tmp_path, damage, says):
    """The message and the page say what is wrong; the page has no verdict, and shows the rest."""
    folder = broken(tmp_path)
    damage(folder)

    message, page = message_of(folder)

    assert says in message
    assert page is not None
    assert says in page
    assert str(tmp_path) not in page
    assert "<h1>Damaged record: no verdict</h1>" in page
    assert "a number of at least 0" in page
    assert "x00900" in page


@pytest.mark.parametrize("damage", [without, cut_short])
def test_unknown_facts_are_not_counted(tmp_path, damage):
    folder = broken(tmp_path)
    damage(folder)

    _, page = message_of(folder)

    assert page is not None
    assert 'class="tiles"' not in page
    assert "every fact was exercised" not in page


def test_known_parts_of_a_later_version_are_used(tmp_path):
    folder = broken(tmp_path)
    of_a_later_version(folder)

    _, page = message_of(folder)

    assert page is not None
    assert "knouds-harness check --target staging --seed 4711" in page


@pytest.mark.parametrize("damage", [without, cut_short])
def test_load_is_rendered_without_a_readable_run_json(tmp_path, damage):
    folder = loaded(tmp_path, seconds=12)
    damage(folder)

    _, page = message_of(folder)

    assert page is not None
    assert "Response times" in page
    assert "runWorkflow async" in page


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": "another tool"}', b"\x00\xff", b"[1]"])
def test_folder_of_something_else_gets_no_report(tmp_path, content):
    """There is one message, and nothing is written into it."""
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    before = sorted(tmp_path.iterdir())

    message, page = message_of(tmp_path)

    assert str(tmp_path) in message
    assert page is None
    assert sorted(tmp_path.iterdir()) == before


def test_missing_folder_is_named(tmp_path):
    message, page = message_of(tmp_path / "gone")

    assert "no such run folder" in message
    assert page is None
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("name", ["load.json", "seconds.csv", "exchanges.har", "findings.jsonl"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_any_file_may_be_cut_short(tmp_path, name, share):
    folder = loaded(tmp_path, seconds=12) if name in ("load.json", "seconds.csv") else broken(tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    page = render_all(folder).html.read_text(encoding="utf-8")

    assert name in page
