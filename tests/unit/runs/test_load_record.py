"""The files of a load run are read back, and damaged parts are named."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_records import load_run
from loaded_runs import loaded

from knouds_harness.runs.load_record import (
    SECONDS_FILE,
    read_results,
    read_seconds,
    spread_counts,
    spread_text,
)
from knouds_harness.runs.load_results import LOAD_FILE
from knouds_harness.runs.record import read_run

SECONDS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.fixture
def folder(tmp_path):
    return load_run(tmp_path, {"getWhoami": SECONDS}, failed=1)


def read(folder):
    gaps: list[str] = []
    results = read_results(folder, gaps)
    assert results is not None
    return results, read_seconds(folder, gaps), gaps


@pytest.mark.parametrize(
    ("change", "left", "says"),
    [
        (lambda text: text.replace("\n0,", "\nzero,"), 1, "line 2 is damaged"),
        (lambda text: text[:-12], 0, "line 3 is cut short"),
    ],
    ids=["damaged", "cut"],
)
def test_damaged_line_is_left_out_and_named(folder, change, left, says):
    path = folder / SECONDS_FILE
    path.write_text(change(path.read_text()))

    _, seconds, gaps = read(folder)

    assert [each.at_s for each in seconds] == [left]
    assert gaps == [f"{SECONDS_FILE}, {says}, and is left out."]


@pytest.mark.parametrize("spread", ["12:3:4", "x:1", "12:", "1_2:3", "999999:1"])
def test_damaged_spread_is_left_out_with_its_line(folder, spread):
    path = folder / SECONDS_FILE
    path.write_text(re.sub(r",[\d: ]+\n", f",{spread}\n", path.read_text(), count=1))

    _, seconds, gaps = read(folder)

    assert spread not in {each.spread for each in seconds}
    assert len(gaps) == 1
    assert gaps[0].endswith("is damaged, and is left out.")


@pytest.mark.parametrize("place", ["at_s,", "\n0,", "\n1,"], ids=["header", "first", "second"])
@pytest.mark.parametrize("text", ["\r", "9" * 200_000], ids=["line end", "long cell"])
def test_invalid_csv_is_left_out_from_its_line_on(folder, place, text):
    path = folder / SECONDS_FILE
    before, after = path.read_text().split(place, 1)
    path.write_text(f"{before}{place}{text}x,{after}", newline="")

    _, seconds, gaps = read(folder)

    line = before.count("\n") + place.count("\n") + 1
    assert [each.at_s for each in seconds] == [*range(line - 2)]
    assert gaps == [f"{SECONDS_FILE} is damaged from line {line} on, which is left out."]


def test_record_is_read_back(folder):
    results, seconds, gaps = read(folder)

    assert [each.operation for each in results.operations] == ["getWhoami"]
    assert [each.at_s for each in seconds] == [0, 1]
    assert seconds[1].p50_ms == pytest.approx(5.0, rel=0.001)
    assert gaps == []


def test_figures_are_read_without_the_seconds(folder):
    (folder / SECONDS_FILE).unlink()

    results, seconds, gaps = read(folder)

    assert results.operations
    assert seconds == ()
    assert SECONDS_FILE in gaps[0]


def test_names_of_statuses_of_an_older_version_are_read(folder):
    """They were called outcomes, and what is ok was called kept."""
    before = read(folder)
    text = (folder / LOAD_FILE).read_text()
    text = re.sub(r'"status": ("\w+"),(\s+)"status_code"', r'"outcome": \1,\2"status"', text)
    (folder / LOAD_FILE).write_text(text.replace('"by_status"', '"outcomes"').replace('"ok"', '"kept"'))
    seconds = folder / SECONDS_FILE
    seconds.write_text(seconds.read_text().replace("ok,", "kept,", 1))

    assert read(folder) == before


def test_figures_that_a_later_version_dropped_are_ignored(tmp_path):
    """Such as those of webhook deliveries."""
    folder = loaded(tmp_path)
    before = read(folder)
    written = json.loads((folder / LOAD_FILE).read_text())
    written["cycles"] |= {"webhook_delay": written["cycles"]["to_final"], "undelivered": 3}
    (folder / LOAD_FILE).write_text(json.dumps(written))

    assert read(folder) == before


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        (r".{300}$", ""),  # cut short
        (r".+", "[]"),
        (r'"format_version": 1', '"format_version": 2'),
        (r'"throttled"', '"throttlel"'),  # a bit flipped in the name of a status
        (r'"requests": \d', '"requests": -1'),  # a comparison would divide by the sum
    ],
)
def test_damaged_figures_are_named(folder, part, changed):
    path = folder / LOAD_FILE
    damaged, count = re.subn(part, changed, path.read_text(), count=1, flags=re.DOTALL)
    path.write_text(damaged)

    record = read_run(folder)

    assert (count, record.load) == (1, None)
    assert record.gaps == (f"{LOAD_FILE} is damaged or of another version: no figures are shown.",)


TEN_MINUTES_NS = 600 * 10**9


@given(durations=st.lists(st.tuples(st.integers(0, TEN_MINUTES_NS), st.integers(1, 1000))))
def test_spread_text_keeps_all_counts(durations):
    assert spread_counts(spread_text(durations)).total() == sum(count for _, count in durations)
