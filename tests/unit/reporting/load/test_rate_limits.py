"""Rate-limit windows and throttled seconds, as a load report shows them."""

from dataclasses import replace

import pytest
from load_records import START_UNIX_S, load_results
from loaded_runs import calm, window
from rendering import Page

from knouds_harness.reporting.html import html
from knouds_harness.reporting.load.rate_limits import listed, tracks_of
from knouds_harness.reporting.load.report import load_report
from knouds_harness.reporting.markdown import markdown
from knouds_harness.runs.operation_load import ALL_OPERATIONS, SecondRow


def tracks(*windows, **changes):
    return tracks_of(load_results(windows=windows, **{"begun_unix_s": START_UNIX_S, **changes}))


def test_windows_are_drawn_at_their_times():
    """Also one that began before the load; all accounts share one scale."""
    pia, ron = tracks(window(), window(1), window(1, user="ron"))

    assert [(each.from_s, each.to_s) for each in pia.windows] == [(-15, 45), (45, 105)]
    assert [(each.left, each.width) for each in pia.windows] == [(0, 50), (50, 50)]
    assert [(each.left, each.width) for each in ron.windows] == [(50, 50)]


def test_scale_begins_with_the_load_if_that_began_before_the_first_window():
    """A record that does not say when it began counts from the first window."""
    ((one,), (first, _)) = (
        track.windows for track in (*tracks(window(1)), *tracks(window(), window(1), begun_unix_s=None))
    )

    assert (one.from_s, one.left) == (45, pytest.approx(100 * 45 / 105))
    assert (first.from_s, first.left) == (0, 0)


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


def test_report_lists_each_window(record_of):
    """Admitted against the limit, throttled, and whether waiting for Retry-After helped."""
    record = record_of(calm)
    one = window(admitted=100, throttled=7, longest_wait_s=31, waits_kept=2)
    results = replace(record.load, windows=(one,), begun_unix_s=START_UNIX_S)

    report = load_report(record, results)

    (row,) = [row for row in Page(html(report)).rows if row[0] == "runWorkflow of pia, pro"]
    assert (row[1], row[5:]) == ("-15 to 45", ["7", "up to 31 s", "2 of 2 in the next window"])
    assert "- `runWorkflow of pia, pro`: 1 window, at most 100 of 100 admitted, 7 throttled" in markdown(
        report
    )


@pytest.mark.parametrize(("throttled", "says"), [(2, "throttled (429) in 3 seconds"), (0, "No request was")])
def test_report_says_in_how_many_seconds_the_target_throttled(record_of, throttled, says):
    record = record_of(calm)
    seconds = tuple(
        SecondRow(at_s=at_s, operation=name, by_status={"throttled": throttled}, p50_ms=3, p99_ms=9, max_ms=9)
        for at_s in (3, 4, 8)
        for name in ("whoami", ALL_OPERATIONS)
    )

    assert says in html(load_report(replace(record, seconds=seconds), record.load))
