"""The live view of a load, in terminals and elsewhere."""

from dataclasses import replace
from io import StringIO

import pytest
from load_records import LIVE_PROGRESS
from rich.console import Console

from knouds_harness.reporting.load.live import LiveView

LIMITED = replace(
    LIVE_PROGRESS, limits=("A process of the generator used 97% of its core: use more processes.",)
)
WHAT_IS_SHOWN = (
    *("198.2", "200", "7 of at most 1,000", "p50 1.2", "p99 120", "100 throttled", "11 failed", "230"),
    *("34%", "0.4", "0.9", "3 tasks not sent"),
)
everywhere = pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "pipe"])


def shown(*moments, **options):
    file = StringIO()
    with LiveView(Console(file=file, **{"width": 100, **options}), title="reads on sandbox") as live:
        for moment in moments:
            live.show(moment)
    return file.getvalue()


@everywhere
def test_every_figure_is_shown(is_terminal):
    """Rates, requests in flight, percentiles, errors, credits, and the state of the generator."""
    text = shown(LIVE_PROGRESS, force_terminal=is_terminal, color_system=None)

    assert [each for each in WHAT_IS_SHOWN if each not in text] == []
    assert "warning" not in text


@pytest.mark.parametrize(
    ("in_flight", "says"),
    [
        (500, "in flight 500 of at most 1,000, 400 for over 1 s, the longest for 7 s"),
        (None, "users 1,000, of their requests 400 for over 1 s, the longest for 7 s"),
    ],
)
def test_requests_that_wait_for_long_are_shown(in_flight, says):
    """Else a target that stops answering would look as before."""
    hung = replace(LIVE_PROGRESS, in_flight=in_flight, waiting=400, longest_wait_s=7.2, percentiles_ms={})

    text = shown(hung, width=400)

    assert says in text
    assert "times no recent ones" in text


@everywhere
def test_load_that_has_ended_shows_what_is_awaited(is_terminal):
    """And neither a rate nor a time that goes on."""
    ended = replace(LIVE_PROGRESS, at_s=45.0, ended_at_s=12.3, waiting=40, longest_wait_s=33.0)

    text = " ".join(shown(ended, force_terminal=is_terminal, color_system=None).split())

    assert "load ended after 12 s" in text
    assert "40 answers, the longest for 33 s" in text
    assert "198.2" not in text


def test_terminal_shows_errors_by_status_and_code():
    text = shown(LIVE_PROGRESS, force_terminal=True)

    assert "429 RATE_LIMIT_EXCEEDED" in text
    assert "no answer ConnectionLost" in text


@everywhere
def test_what_is_wrong_with_the_generator_is_a_warning(is_terminal):
    """A pipe gets a new one at once, whatever others there are, and each only once."""
    lost = replace(LIMITED, doubts=("Worker b was lost.",))

    text = " ".join(shown(LIMITED, lost, lost, force_terminal=is_terminal).split())

    assert "97% of its core" in text
    assert text.count("warning: Worker b was lost.") == 1 or is_terminal


def test_pipe_gets_a_line_every_five_seconds_and_fewer_later():
    """However often the figures change."""
    moments = [replace(LIMITED, at_s=float(at_s) / 2) for at_s in range(60)]
    later = [replace(LIVE_PROGRESS, at_s=float(at_s), duration_s=3600.0) for at_s in range(3600)]

    lines = shown(*moments).splitlines()

    assert len([line for line in lines if line.startswith("warning")]) == 1
    assert [line.partition("/")[0] for line in lines if "requests/s" in line] == [
        f"load {at_s}" for at_s in (5, 10, 15, 20, 25)
    ]
    assert len(shown(*later).splitlines()) < 140


@everywhere
def test_time_shown_never_exceeds_the_duration(is_terminal):
    assert "60/60 s" in shown(replace(LIVE_PROGRESS, at_s=63.0), force_terminal=is_terminal)


def test_view_fits_a_narrow_terminal():
    """Long lines are folded, so that the view can be redrawn in place."""
    text = shown(LIMITED, force_terminal=True, width=44, color_system=None)

    assert "429" in text
    assert max(len(line) for line in text.replace("\x1b", "\n\x1b").splitlines()) <= 50


def test_closed_model_shows_users_and_no_schedule():
    closed = replace(LIVE_PROGRESS, asked_per_s=None, in_flight=None, lateness_p99_ms=None, dropped=0)

    text = shown(closed)

    assert "users 1,000;" in text
    assert "asked for" not in text
