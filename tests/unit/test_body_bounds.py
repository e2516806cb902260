"""Headers may hold numbers of any length, and text that only looks like a number."""

import pytest

from knouds_harness.body_bounds import whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("100", 100), ("9" * 18, 10**18 - 1)])
def test_whole_number_is_read(text, number):
    assert whole_number(text) == number


@pytest.mark.parametrize("text", [None, "", " 1", "-1", "1.0", "1e3", "²", "٣", "9" * 19, "9" * 5_000])
def test_other_text_is_no_whole_number(text):
    assert whole_number(text) is None
