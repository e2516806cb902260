"""Writing while load goes on: in another thread, so that a slow disk does not hold up the event loop."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import gevent

_LOG = logging.getLogger(__name__)


class BackgroundWriter:
    """Does what it is given in gevent's pool of threads, one after the other, in the order given.

    A job sees what it writes as it is when its turn comes: give it what nobody changes any more.
    """

    def __init__(self) -> None:
        """Have nothing to do."""
        self._jobs: deque[Callable[[], object]] = deque()
        self._working: gevent.Greenlet[[], None] | None = None
        self._failure: Exception | None = None

    def give(self, job: Callable[[], object]) -> None:
        """Have this done soon, and go on at once."""
        self._jobs.append(job)
        if self._working is None:
            self._working = gevent.spawn(self._work)

    def finish(self) -> None:
        """Return once all is done.

        Raises:
            Exception: What the first job that failed raised; the others were done nevertheless.
        """
        while self._working is not None:
            self._working.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while self._jobs:
            failure = gevent.get_hub().threadpool.apply(_failure_of, (self._jobs.popleft(),))
            if failure is not None and self._failure is None:
                self._failure = failure
                _LOG.error("%s", failure)
        self._working = None


def _failure_of(job: Callable[[], object]) -> Exception | None:
    """Do it; what it raises is returned, as gevent would print it."""
    try:
        job()
    except Exception as failure:  # noqa: BLE001 - to be raised by finish
        return failure
    return None
