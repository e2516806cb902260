"""An event loop that never waits: its clock, and the time of day with it, jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

Result = TypeVar("Result")
_BEGAN_UNIX_S = 1_800_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Takes no time for a timeout, and counts it."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout else timeout)
        if not ready and timeout:
            self.now_s += timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run_without_waiting(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that talks to nothing outside: what happens when is the same on every machine."""
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        loop = runner.get_loop()
        with mock.patch.object(time, "time", side_effect=lambda: _BEGAN_UNIX_S + loop.time()):
            return runner.run(main)
