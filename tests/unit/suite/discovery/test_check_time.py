"""The estimate of how long a check takes, and which concurrency would halve that."""

import pytest

from knouds_harness.suite.discovery.doctor import check_time_s, check_time_words


@pytest.mark.parametrize(
    ("latency_ms", "at_once", "fills_window", "words"),
    [
        (
            1,
            4,
            False,
            "At 1 ms for an answer, a full check takes about 30 s, and a higher limits.concurrency",
        ),
        (1, 4, True, "about 80 s, and a higher"),
        (50, 1, False, "takes about 7 min; limits.concurrency = 5 in place of 1"),
        (120, 4, False, "no limits.concurrency would halve it, 32 in place of 4 makes it "),
    ],
)
def test_time_is_told_with_what_would_shorten_it(latency_ms, at_once, fills_window, words):
    assert words in check_time_words(latency_ms, at_once, share=1, fills_window=fills_window)


def test_concurrency_that_halves_the_time_is_the_least():
    words = check_time_words(50, 1, share=1, fills_window=False)

    halving = int(words.split("limits.concurrency = ")[1].split()[0])
    assert check_time_s(50, halving) <= check_time_s(50, 1) / 2 < check_time_s(50, halving - 1)


def test_few_possible_tests_take_less():
    assert check_time_s(50, 4, share=0.5) == check_time_s(50, 4) / 2
