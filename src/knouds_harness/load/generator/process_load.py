"""The load that one process sends: its share of the arrivals, its limits, and how it does."""

from __future__ import annotations

import time
from typing import Final

import gevent
from locust.runners import Runner

from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals.arrival_user import Arrivals
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.generator.health import Health, Watch
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.load.workload.limits import CreditLease, LoadLimits
from knouds_harness.load.workload.preflight import NOT_LOOKED, LookedAhead
from knouds_harness.targets.profile import Target

NO_TARGET: Final = "name a target: --target sandbox, or another profile in targets/"


class ProcessLoad:
    """Begins with a share of the whole, and ends with it.

    Attributes:
        arrivals: Of the open model; None in the closed one.
    """

    def __init__(
        self,
        runner: Runner | None,
        options: LoadOptions,
        target: Target | None,
        *,
        lease: CreditLease | None,
        ahead: LookedAhead = NOT_LOOKED,
    ) -> None:
        """Send nothing before there is a share.

        Args:
            runner: Locust's.
            options: What is asked for.
            target: Whose limits to keep; None without a profile.
            lease: In a worker, which gets its credits from the master.
            ahead: What was learnt of the target before.
        """
        self._runner = runner
        self._options = options
        self._watch = Watch()
        self.arrivals = (
            Arrivals(options.schedule, on_taken=self._watch.on_taken) if options.schedule else None
        )
        self._limits = LoadLimits(target, lease=lease, ahead=ahead) if target else None

    @property
    def limits(self) -> LoadLimits:
        """What this process may still do to the target.

        Raises:
            UsageError: No target was named.
        """
        if self._limits is None:
            raise UsageError(NO_TARGET)
        return self._limits

    @property
    def timer(self) -> str:
        """What drives the arrivals; empty in the closed model."""
        return self.arrivals.timer if self.arrivals else ""

    def begin(self, start_unix_s: float, share: Share) -> None:
        """Send this share of a load that begins at this Unix time."""
        delay_s = start_unix_s - now_unix_s()
        if self.arrivals:
            self.arrivals.begin(time.perf_counter() + delay_s, share)
        if self._limits:
            self._limits.pace(share, since=time.monotonic() + delay_s)
        self._begin_watching()
        if self._options.warm_up_s:
            gevent.spawn_later(max(0.0, delay_s + self._options.warm_up_s), self._begin_watching)

    def stop(self) -> None:
        """Begin nothing more."""
        if self.arrivals:
            self.arrivals.stop()

    def conclude(self) -> None:
        """Hold what was charged against the limit, once the load is over.

        Raises:
            GuardStop: It is exceeded.
        """
        if self._limits:
            self._limits.conclude()

    def health(self) -> Health:
        """How this process does."""
        handed, dropped = self._arrived()
        health = self._watch.health(handed=handed, dropped=dropped)
        health.spent_credits = self._limits.budget.spent_credits if self._limits else 0.0
        if self._runner and self.arrivals:
            health.in_flight = self._runner.user_count - self.arrivals.dispatcher.idle
        return health

    def _begin_watching(self) -> None:
        handed, dropped = self._arrived()
        self._watch.begin(handed=handed, dropped=dropped)

    def _arrived(self) -> tuple[int, int]:
        if self.arrivals is None:
            return 0, 0
        return self.arrivals.dispatcher.handed, self.arrivals.dispatcher.dropped
