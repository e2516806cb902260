"""The estimate of how long a check takes."""

import pytest

from knouds_harness.suite.discovery.doctor import check_time_s, check_time_words


@pytest.mark.parametrize(
    ("latency_ms", "at_once", "fills_window", "seconds"),
    [
        (1, 4, False, 22),
        (1, 4, True, 80),
        (50, 4, False, 106.6),
        (50, 8, False, 67.7),
        (120, 8, False, 131.7),
    ],
)
def test_time_is_within_a_tenth_of_what_was_measured(latency_ms, at_once, fills_window, seconds):
    assert check_time_s(latency_ms, at_once, fills_window=fills_window) == pytest.approx(seconds, rel=0.1)


def test_few_possible_tests_take_less():
    assert check_time_s(50, 4, share=0.5) == check_time_s(50, 4) / 2


def test_least_concurrency_that_halves_the_time_is_named():
    words = check_time_words(50, 1, share=1, fills_window=False)

    halving = int(words.split("limits.concurrency = ")[1].split(",")[0])
    assert check_time_s(50, halving) <= check_time_s(50, 1) / 2 < check_time_s(50, halving - 1)


def test_no_concurrency_shortens_the_filling_of_a_window():
    assert check_time_words(1, 4, share=1, fills_window=True).endswith("takes about 80 s.")
