"""Which fact is seen in which recording: in the table of facts, run records and reports."""

from dataclasses import replace
from io import StringIO

from recorded import FOLDER, document, recordings
from rich.console import Console
from run_records import SETUP, start

from knouds_harness.commands.facts import coverage, print_coverage
from knouds_harness.contract.operations import Source
from knouds_harness.exchange.recording_folder import RecordingFolder
from knouds_harness.locations import recordings_path
from knouds_harness.reporting.check.fact_status import fact_rows
from knouds_harness.reporting.check.report import check_report
from knouds_harness.reporting.html import html
from knouds_harness.runs.record import read_run

NAMES = RecordingFolder.open(FOLDER).names_by_fact()
LEGACY = "auth.legacy-key-is-401-retired"
# Codes that only our document names, as an assumption, and that the sandbox spells differently.
SPELT_OTHERWISE = {"INVALID_DOCUMENT", "INVALID_QUERY", "INVALID_EXECUTION_ID", "UNSUPPORTED_CONTENT_TYPE"}


def test_recordings_are_shipped_with_the_harness():
    assert recordings_path() == FOLDER


def test_every_code_that_a_key_can_provoke_is_recorded():
    """Except assumed spellings that the sandbox does not use."""
    recorded = {each.exchange.code for each in recordings().values()}
    provokable = {code.code for code in document().error_codes.values() if code.key_can_provoke}

    assert provokable - recorded == SPELT_OTHERWISE
    assert {document().error_codes[code].source for code in SPELT_OTHERWISE} == {Source.ASSUMED}


def test_every_operation_is_recorded_with_a_success_and_a_refusal():
    """A public operation may lack the refusal."""
    for operation in document().operations:
        statuses = {
            each.exchange.status or 0 for each in recordings().values() if each.operation == operation.id
        }
        assert min(statuses) < 300, operation.id
        assert max(statuses) >= 400 or operation.is_public, operation.id


def test_every_event_is_recorded():
    events = {each.operation for each in recordings().values() if each.kind == "delivery"}

    assert events == {"receiveExecutionCompleted", "receiveExecutionFailed", "receiveExecutionCancelled"}


def test_table_of_facts_names_recordings():
    printed = StringIO()
    console = Console(width=400, file=printed)
    facts = document().facts
    print_coverage(facts, coverage(facts, recordings=NAMES), console=console)

    text = printed.getvalue()
    assert any(name in text for name in NAMES[LEGACY])
    assert " more" in text
    assert f" in {len(recordings())} recordings." in text


def test_report_counts_recordings_of_each_fact(tmp_path):
    with start(tmp_path, setup=replace(SETUP, recordings={LEGACY: ("getWhoami-401-legacy",)})) as writer:
        writer.finish("kept", 0)

    record = read_run(writer.folder)
    (row,) = [row for row in fact_rows(record) if row.fact.id == LEGACY]
    assert row.recordings == ("getWhoami-401-legacy",)
    assert 'title="getWhoami-401-legacy">1<' in html(check_report(record))
