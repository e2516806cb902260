"""Ctrl-C, SIGTERM and SIGHUP: each ends a command, but only between two writes that belong together."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGAIN_AFTER_S: Final = 0.1


class _Delay:
    """Signals are of the whole process, and Python handles them in its main thread alone: so is this."""

    def __init__(self) -> None:
        self.depth = 0
        self.is_due = False


_DELAY: Final = _Delay()


def end_as_ctrl_c_does() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C, unless they are ignored, as under nohup."""
    numbers = [number for number in _ending() if signal.getsignal(number) is signal.SIG_DFL]

    def end(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # cleaning up has begun
        _interrupt()

    for number in numbers:
        signal.signal(number, end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _interrupt_after_all


def ignore_interrupts() -> None:
    """Let no signal replace the exit code any more: as Python ends, it gives each its default effect back."""
    for number in (signal.SIGINT, *_ending()):
        signal.signal(number, signal.SIG_IGN)


def _ending() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay an interrupt until the context, or the function that this decorates, has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _DELAY.depth += 1
    try:
        yield
    finally:
        _DELAY.depth -= 1
        if _DELAY.is_due:
            _interrupt()


def _interrupt(*_: object) -> None:
    _DELAY.is_due = _DELAY.depth > 0
    if not _DELAY.is_due:
        raise KeyboardInterrupt


def _interrupt_after_all(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt again if Python ignored it, as in code that the garbage collector calls."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        signal.signal(signal.SIGALRM, _interrupt)  # SIGINT may be ignored here
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER_S)
    else:
        sys.__unraisablehook__(ignored)
