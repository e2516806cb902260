"""Breaches that the checks do not find, by the mutant's name, each with the reason."""

from typing import Final

SURVIVORS: Final[dict[str, str]] = {}
