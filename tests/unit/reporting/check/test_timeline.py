"""When what was sent, and when findings were first seen."""

from dataclasses import replace
from datetime import timedelta

from run_records import START, add_finding, broken, empty, exchange, healthy, start

from knouds_harness.reporting.check.timeline import timeline_of
from knouds_harness.runs.record import read_run


def sent_at(number, at_s, **options):
    return replace(exchange(number, "getWhoami", **options), started_at=START + timedelta(seconds=at_s))


def test_each_exchange_is_counted_once(tmp_path):
    record = read_run(broken(tmp_path))

    timeline = timeline_of(record)

    assert timeline is not None
    assert sum(sum(column.counts.values()) for column in timeline.columns) == len(record.exchange_by_id)


def test_answers_are_told_apart(tmp_path):
    with start(tmp_path) as writer:
        for number, status in enumerate((200, 404, 429, 503, None, 302)):
            writer.add_exchange(sent_at(number, 0.0, status=status))
        writer.finish("kept", 0)

    timeline = timeline_of(read_run(writer.folder))

    assert timeline is not None
    assert timeline.columns[0].counts == {"2xx": 1, "4xx": 1, "429": 1, "5xx": 1, "other": 1, "none": 1}


def test_finding_is_marked_when_it_was_first_seen(tmp_path):
    with start(tmp_path) as writer:
        writer.add_exchange(sent_at(1, 0.0))
        add_finding(writer, sent_at(2, 5.0), "whoami.user-object")
        writer.add_exchange(sent_at(3, 10.0))
        writer.finish("broken", 1)

    timeline = timeline_of(read_run(writer.folder))

    assert timeline is not None
    assert [(mark.at_share, mark.fails) for mark in timeline.marks] == [(0.5, True)]


def test_drift_is_not_marked(tmp_path):
    record = read_run(broken(tmp_path))

    timeline = timeline_of(record)

    assert timeline is not None
    marked = [finding.fact for mark in timeline.marks for finding in mark.findings]
    assert len(marked) == len(record.findings) - 1


def test_run_without_a_finding_has_no_marks(tmp_path):
    timeline = timeline_of(read_run(healthy(tmp_path)))

    assert timeline is not None
    assert timeline.marks == ()


def test_run_that_sent_nothing_has_no_line(tmp_path):
    assert timeline_of(read_run(empty(tmp_path))) is None
