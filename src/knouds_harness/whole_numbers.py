"""Whole numbers as servers write them into headers: digits alone."""

from typing import Final

MOST_DIGITS: Final = 18
"""No header of the API comes near; what is longer fits neither what counts it nor what packs it."""


def whole_number(text: str | None) -> int | None:
    """A number of at most ``MOST_DIGITS`` ASCII digits and nothing else; None for any other text."""
    is_number = text and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()
    return int(text) if text and is_number else None
