"""A clock that tests move, and waiting for a condition."""

import time
from collections.abc import Callable


class Clock:
    """Seconds that change only when a test moves them."""

    def __init__(self, now_s: float = 1_780_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def wait_until(
    is_so: Callable[[], object], *, timeout_s: float = 90.0, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Wait for a condition, or raise a TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        sleep(0.05)
