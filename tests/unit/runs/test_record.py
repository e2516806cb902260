"""A record is read back whole or in part, or refused in one message."""

import shutil
from pathlib import Path

import pytest
from rendering import render_all
from run_records import SETUP, broken, exchange, finding, healthy, start

from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.record import read_run
from knouds_harness.runs.run_file import Cell, UntestedFact


def test_record_is_read_back(tmp_path):
    shown = exchange(1, "runWorkflow", body={"cost": "12"}, sent={"inputs": {"text": "ü"}})
    found = finding(shown, "run.cost-is-credits", where="/cost")
    untested = UntestedFact(check="c", fact="f", operation="getHealth", missing="a key")
    cell = Cell(
        operation="getWhoami",
        persona="full",
        expected="admitted",
        observed="200",
        ok=True,
        exchange_id="x00001",
    )
    with start(tmp_path) as writer:
        writer.add_exchange(shown)
        writer.add_finding(found)
        for passed in (True, False, True):
            writer.add_result(
                check="c", fact="f", operation=None, persona="full", passed=passed, exchange_id="x00001"
            )
        writer.cells.append(cell)
        writer.add_untested(untested)
        writer.finish("broken", 1, note="so it is")

    record = read_run(writer.folder)
    (result,) = record.results
    assert record.setup == SETUP
    assert record.setup.target.personas["bound-workflow"].capabilities == ("workflow:portrait:run",)
    assert (record.kind, record.outcome, record.exit_code, record.note) == ("check", "broken", 1, "so it is")
    assert (record.findings, record.exchange_by_id) == ((found,), {"x00001": shown})
    assert (record.cells, record.untested, record.gaps) == ((cell,), (untested,), ())
    assert (result.check, result.fact, result.operation) == ("c", "f", None)
    assert (result.passed, result.failed) == (2, 1)
    assert result.passed_exchange == result.failed_exchange == "x00001"


def test_record_holds_no_key(tmp_path):
    folder = healthy(tmp_path)

    assert not any(b"no-secret" in path.read_bytes() for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    return broken(tmp_path)


def test_record_of_version_0_1_0_still_renders(tmp_path):
    """It has no tests or script; part of a record that 0.1.0 wrote in November 2026 is kept here."""
    folder = shutil.copytree(Path(__file__).with_name("format-1"), tmp_path / "run")

    record = read_run(folder)
    report = render_all(folder).markdown.read_text(encoding="utf-8")

    assert record.gaps == ()
    assert (record.outcome, record.exit_code, record.tests) == (RunOutcome.BROKEN, 1, ())
    assert [each.fact for each in record.findings] == ["auth.unknown-key-is-401"]
    assert record.missing_exchanges == 0
    assert "auth.unknown-key-is-401" in report


def test_truncated_finding_is_left_out_and_named(folder):
    content = (folder / "findings.jsonl").read_bytes()
    (folder / "findings.jsonl").write_bytes(content[:-20])

    record = read_run(folder)
    assert len(record.findings) == content.count(b"\n") - 1
    assert record.gaps == (
        f"findings.jsonl, line {content.count(bytes([10]))} is cut short or damaged, and is left out.",
    )


@pytest.mark.parametrize("content", [b"", b"no HAR\nat all", b'{"log": {"entries": [\n{"foreign": 1}\n]}}'])
def test_har_file_of_something_else_is_not_evidence(folder, content):
    (folder / "exchanges.har").write_bytes(content)

    record = read_run(folder)
    assert record.exchange_by_id == {}
    assert record.missing_exchanges == record.counts.exchanges


def test_run_that_was_killed_says_how_to_clean_up(tmp_path):
    killed = tmp_path / "killed"
    with start(tmp_path) as writer:
        shutil.copytree(writer.folder, killed)
    assert "cleanup" not in read_run(killed).note
    (killed / "created.jsonl").touch()

    assert f"knouds-harness cleanup {killed} deletes what it created" in read_run(killed).note
