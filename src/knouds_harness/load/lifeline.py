"""A process of a load run that does not outlive the one that started it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import gevent

_LOOK_EVERY_S: Final = 0.5


def watch_parent(on_lost: Callable[[], object]) -> None:
    """Call ``on_lost`` once the process that started this one has gone, however it went."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            gevent.sleep(_LOOK_EVERY_S)
        on_lost()

    gevent.spawn(look)
