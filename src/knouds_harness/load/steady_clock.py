"""The time of day that nobody sets while a run goes: a second that comes later never has a smaller number."""

from __future__ import annotations

import time
from typing import Final

# Read once: NTP or an administrator may step the system's clock, and figures are sorted by their second.
_EPOCH_S: Final = time.time() - time.monotonic()


def now_unix_s() -> float:
    """Seconds since the epoch by the clock of when this process began, and since then by a monotonic one."""
    return _EPOCH_S + time.monotonic()
