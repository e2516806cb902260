"""Plain Locust says why it ends with another exit code than 0."""

from __future__ import annotations

from load_results import load_results, missed, validity

from knouds_harness.load.last_words import last_words


def test_nothing_is_said_of_a_run_in_which_all_is_well():
    """Locust's own summary is enough."""
    assert list(last_words(load_results())) == []


def test_reasons_of_every_kind_are_said():
    """Why it ended early, what speaks against the generator, which objectives were missed."""
    results = load_results(
        note="Ended early.", validity=validity(is_valid=False, reasons=("Too late.",)), objectives=(missed(),)
    )

    assert list(last_words(results)) == [
        "Ended early.",
        "not a valid measurement: Too late.",
        "objective missed: whoami p99_ms 9, bound 5",
    ]
