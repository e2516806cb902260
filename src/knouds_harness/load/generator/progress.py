"""What the leading process tells of a run while it goes, once a second; others show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import gevent

from knouds_harness.load.collection.seconds import RESPONSE, Error, Second
from knouds_harness.load.collection.summary import times
from knouds_harness.load.generator.health import Health
from knouds_harness.load.generator.validity import judge_generator
from knouds_harness.load.options import LoadOptions
from knouds_harness.load.steady_clock import now_unix_s
from knouds_harness.measures.histograms import Histogram, merged
from knouds_harness.measures.percentiles import PERCENTS
from knouds_harness.runs.load_progress import LoadProgress, ProgressMessage, tell
from knouds_harness.runs.load_results import OUTCOMES, ErrorCount, RequestStatus

_EVERY_S: Final = 1.0
_RECENT_SECONDS: Final = 5
_MOST_ERRORS: Final = 5
_JUDGED_FROM_S: Final = 3.0
"""Sooner after the beginning everything is late: connections are opened, code is run for the first time."""
_PERCENTS: Final = (*map(float, PERCENTS), 100.0)


class ProgressTeller:
    """Tells once a second how a run stands, and at last what it ends with."""

    def __init__(
        self,
        descriptor: int,
        options: LoadOptions,
        *,
        folder: Path | None,
        most_credits: float | None,
        health: Callable[[], Health],
        doubts: Sequence[str] = (),
    ) -> None:
        """Tell nothing yet.

        Args:
            descriptor: Of the pipe.
            options: What is asked for.
            folder: Of the record.
            most_credits: The most that may be spent.
            health: How the processes do, together.
            doubts: What the figures lack; may grow.
        """
        self._descriptor = descriptor
        self._options = options
        self._folder = folder
        self._most_credits = most_credits
        self._health = health
        self._doubts = doubts
        self._recent: deque[tuple[int, int, Histogram]] = deque(maxlen=_RECENT_SECONDS)
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._errors: dict[Error, int] = {}
        self._told = Health()
        self.start_unix_s: float | None = None

    def begin(self, start_unix_s: float | None = None) -> None:
        """Tell from now on.

        Args:
            start_unix_s: When load begins, if that is known; say it again once it is.
        """
        if self.start_unix_s is None and start_unix_s is None:
            gevent.spawn(self._tell_each_second)
        self.start_unix_s = start_unix_s

    def add(self, second: Second) -> None:
        """Count a second that is over."""
        ended, kept = 0, Histogram()
        for series, histogram in second.histograms.items():
            if series.measure == RESPONSE:
                count = len(histogram)
                ended += count
                self._outcomes[series.status] += count
                if series.status is RequestStatus.KEPT:
                    kept.add(histogram)
        self._recent.append((second.unix_s, ended, kept))
        for error, count in second.errors.items():
            self._errors[error] = self._errors.get(error, 0) + count

    def tell(self) -> None:
        """Say how the run stands now; others go on meanwhile, however long it takes who reads."""
        gevent.get_hub().threadpool.apply(tell, (self._descriptor, ProgressMessage(progress=self.now())))

    def conclude(self, exit_code: int) -> None:
        """Say what the run ends with."""
        tell(self._descriptor, ProgressMessage(progress=self.now(), exit_code=exit_code))

    def now(self) -> LoadProgress:
        """How the run stands."""
        options, health = self._options, self._health()
        at_s = -1.0 if self.start_unix_s is None else now_unix_s() - self.start_unix_s
        is_open = options.rate is not None
        lateness = times(_since(self._told.lateness, health.lateness))
        loop_lag = times(_since(self._told.loop_lag, health.loop_lag))
        handed, dropped = health.handed - self._told.handed, health.dropped - self._told.dropped
        limits = judge_generator(
            asked_per_s=None,  # what workers tell is some seconds old
            achieved_per_s=1.0,
            arrivals=max(0, handed + dropped),
            dropped=max(0, dropped),
            lateness=lateness,
            loop_lag=loop_lag,
            cpu_share=health.cpu_share,
        ).reasons
        self._told = Health(
            lateness=Histogram(health.lateness.counts),
            loop_lag=Histogram(health.loop_lag.counts),
            handed=health.handed,
            dropped=health.dropped,
        )
        return LoadProgress(
            folder=str(self._folder) if self._folder else None,
            at_s=at_s,
            duration_s=options.course.duration_s,
            warm_up_s=options.warm_up_s,
            asked_per_s=options.course.level(at_s) if is_open else None,
            recent_per_s=self._recent_per_s(),
            in_flight=health.in_flight if is_open else None,
            users=options.users,
            requests=sum(self._outcomes.values()),
            outcomes=dict(self._outcomes),
            errors=self._most_frequent(),
            percentiles_ms=self._percentiles_ms(),
            spent_credits=health.spent_credits,
            most_credits=self._most_credits,
            cpu_share=health.cpu_share,
            lateness_p99_ms=lateness.percentiles["99"] if is_open else None,
            loop_lag_p99_ms=loop_lag.percentiles["99"],
            dropped=health.dropped,
            limits=limits if at_s >= _JUDGED_FROM_S else (),
            doubts=tuple(self._doubts),
        )

    def _tell_each_second(self) -> None:
        while True:
            self.tell()
            gevent.sleep(_EVERY_S)

    def _recent_per_s(self) -> float:
        if not self._recent:
            return 0.0
        # Parts of one second may come one by one; seconds in which nothing ended do not come at all.
        length_s = self._recent[-1][0] - self._recent[0][0] + 1
        return sum(ended for _, ended, _ in self._recent) / length_s

    def _percentiles_ms(self) -> dict[str, float]:
        kept = merged(each for _, _, each in self._recent)
        found = kept.percentiles_s(*_PERCENTS) if kept.counts else ()
        return {
            "max" if percent == 100 else f"{percent:g}": at_s * 1e3
            for percent, at_s in zip(_PERCENTS, found, strict=False)
        }

    def _most_frequent(self) -> tuple[ErrorCount, ...]:
        together: dict[tuple[str, int, str], int] = {}
        for error, count in self._errors.items():
            kind = (error.status.value, error.status_code, error.code)
            together[kind] = together.get(kind, 0) + count
        ranked = sorted(together.items(), key=lambda each: -each[1])[:_MOST_ERRORS]
        return tuple(
            ErrorCount(outcome=outcome, status=status or None, code=code, count=count)
            for (outcome, status, code), count in ranked
        )


def _since(earlier: Histogram, now: Histogram) -> Histogram:
    """What came since; all of it where counting has begun anew."""
    grown = {bucket: count - earlier.counts.get(bucket, 0) for bucket, count in now.counts.items()}
    if any(count < 0 for count in grown.values()):
        return now
    return Histogram({bucket: count for bucket, count in grown.items() if count})
