"""Clocks that tests move."""

from __future__ import annotations


class Clock:
    """Seconds that stand still until a test moves them."""

    def __init__(self, now_s: float = 1_780_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Move on, as if somebody had slept."""
        self.now_s += seconds
