"""Rate-limit windows and throttled seconds, as a load report shows them."""

from dataclasses import replace

import pytest
from load_records import load_results
from loaded_runs import calm, loaded

from knouds_harness.reporting.html import html
from knouds_harness.reporting.load.rate_limits import listed, throttled_spans, tracks_of
from knouds_harness.reporting.load.report import load_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.runs.load_results import LimitWindow
from knouds_harness.runs.operation_load import ALL_OPERATIONS, SecondRow
from knouds_harness.runs.record import read_run

BEGUN_UNIX_S = 1_764_063_000.0


def window(number=0, *, user="pia", operation="runWorkflow", **counts):
    return LimitWindow(
        user=user,
        operation=operation,
        tier="pro",
        limit=100,
        ends_unix_s=int(BEGUN_UNIX_S) + 45 + 60 * number,
        **counts,
    )


def tracks(*windows, **changes):
    return tracks_of(load_results(windows=windows, **{"begun_unix_s": BEGUN_UNIX_S, **changes}))


def second(at_s, name="whoami", *, ok=1, throttled=0):
    return SecondRow(
        at_s=at_s,
        operation=name,
        by_status={"ok": ok, "throttled": throttled},
        p50_ms=3.0,
        p99_ms=9.0,
        max_ms=9.0,
    )


def test_windows_are_drawn_at_their_times():
    """Also one that began before the load; all accounts share one scale."""
    pia, ron = tracks(window(), window(1), window(1, user="ron"))

    assert [(each.from_s, each.to_s) for each in pia.windows] == [(-15, 45), (45, 105)]
    assert [(each.left, each.width) for each in pia.windows] == [(0, 50), (50, 50)]
    assert [(each.left, each.width) for each in ron.windows] == [(50, 50)]


def test_scale_begins_with_the_first_window():
    """Or with the load, if that began earlier."""
    (track,) = tracks(window(1))

    (one,) = track.windows
    assert one.from_s == 45
    assert one.left == pytest.approx(100 * 45 / 105)


def test_window_that_admits_too_much_is_full_and_marked():
    (track,) = tracks(window(admitted=50), window(1, admitted=120, throttled=3))

    assert [(each.filled, each.is_over) for each in track.windows] == [(50, False), (100, True)]
    assert track.says == "2 windows, at most 120 of 100 admitted, 3 throttled"


@pytest.mark.parametrize(
    ("kept", "broken", "says"),
    [(0, 0, "none was sent"), (2, 0, "2 of 2 in the next window"), (2, 1, "1 refused again")],
)
def test_outcome_of_waits_is_described(kept, broken, says):
    (track,) = tracks(window(throttled=1, waits_kept=kept, waits_broken=broken))

    assert track.windows[0].waiting == says


def test_long_run_lists_only_noteworthy_windows():
    found = tracks(*(window(number, throttled=number % 4 == 0) for number in range(120)))

    assert len(listed(found)) == 30
    assert len(found[0].windows) == 120


def test_record_without_a_start_counts_from_the_first_window():
    (track,) = tracks(window(), window(1), begun_unix_s=None)

    assert [each.from_s for each in track.windows] == [0, 60]


def test_report_lists_each_window(tmp_path):
    """Admitted against the limit, throttled, and whether waiting for Retry-After helped."""
    record = read_run(calm(tmp_path))
    assert record.load is not None
    one = window(admitted=100, throttled=7, longest_wait_s=31, waits_kept=2)
    results = replace(record.load.results, windows=(one,), begun_unix_s=BEGUN_UNIX_S)

    page = html(load_report(record, replace(record.load, results=results)))

    assert "runWorkflow of pia, pro" in page
    assert "-15 to 45" in page
    assert "up to 31 s" in page
    assert "2 of 2 in the next window" in page


def test_markdown_has_a_line_for_each_throttled_account(tmp_path):
    record = read_run(loaded(tmp_path, seconds=12))
    assert record.load is not None

    text = markdown(load_report(record, record.load))

    assert "- `runWorkflow of pia, pro`: 2 windows, at most 100 of 100 admitted, 48 throttled" in text


def test_throttled_seconds_in_a_row_are_one_span():
    """With the throttled requests by operation, and those kept meanwhile."""
    rows = [second(at_s, throttled=2 if at_s in (3, 4, 8) else 0) for at_s in range(10)]
    rows.append(second(4, "runModel", throttled=5, ok=7))
    rows.append(second(4, ALL_OPERATIONS, throttled=7, ok=8))

    spans = throttled_spans(rows)

    assert [(span.from_s, span.to_s) for span in spans] == [(3, 4), (8, 8)]
    assert spans[0].throttled == {"whoami": 4, "runModel": 5}
    assert spans[0].ok == 9
