"""The time of day, which nothing sets back or forth during a run: seconds never go backwards."""

import time
from typing import Final

# Read once: NTP or an administrator may set the system's clock, and metrics are sorted by their second.
_EPOCH_S: Final = time.time() - time.monotonic()


def now_unix_s() -> float:
    """Seconds since the epoch, by the system's clock at this process's start and a monotonic one since."""
    return _EPOCH_S + time.monotonic()
