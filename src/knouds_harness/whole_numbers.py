"""Parse whole numbers in headers, which consist of digits only."""

from typing import Final

MOST_DIGITS: Final = 18
"""Far more than any header of the API has; longer numbers overflow the counters and their packed form."""


def whole_number(text: str | None) -> int | None:
    """Parse at most ``MOST_DIGITS`` ASCII digits; return None for any other text."""
    is_number = text and len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()
    return int(text) if text and is_number else None
