"""Reports of a run folder with parts that are missing, cut short or of another version."""

import json

import pytest
from loaded_runs import loaded
from rendering import render_all
from run_records import broken

from knouds_harness.errors import RunRecordError


def message_of(folder):
    with pytest.raises(RunRecordError) as caught:
        render_all(folder)
    return str(caught.value)


def test_record_of_a_later_version_is_refused_with_the_version_that_wrote_it(tmp_path):
    path = broken(tmp_path) / "run.json"
    stored = json.loads(path.read_bytes())
    path.write_text(json.dumps({**stored, "format_version": 99, "results": {"by": "fact"}}), encoding="utf-8")

    message = message_of(path.parent)

    assert "run.json: has format 99, and this version reads format 1" in message
    assert stored["setup"]["tool_version"] in message


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": "another tool"}', b"\x00\xff", b"[1]"])
def test_folder_of_something_else_gets_no_report(tmp_path, content):
    """There is one message, and nothing is written into it."""
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    before = sorted(tmp_path.iterdir())

    assert str(tmp_path) in message_of(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_missing_folder_is_named(tmp_path):
    assert "no such run folder" in message_of(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("name", ["load.json", "seconds.csv", "exchanges.har", "findings.jsonl"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_any_file_may_be_cut_short(tmp_path, name, share):
    folder = loaded(tmp_path, seconds=12) if name in ("load.json", "seconds.csv") else broken(tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    page = render_all(folder).html.read_text(encoding="utf-8")

    assert name in page
