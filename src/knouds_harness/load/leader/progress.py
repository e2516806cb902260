"""The progress of a running load: the leading process sends it to the command, which shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final

import gevent

from knouds_harness.errors import ExitCode
from knouds_harness.load.collection.metrics import RunMetrics, ok_times, times
from knouds_harness.load.collection.seconds import Error, Second, now_unix_s
from knouds_harness.load.leader.validity import describe_slowdown, judge_generator
from knouds_harness.load.leader.workers import Health
from knouds_harness.load.options import LoadOptions
from knouds_harness.runs.load_progress import LoadProgress, ProgressMessage, tell
from knouds_harness.runs.operation_load import PERCENTS, ErrorCount, RequestStatus

_RECENT_S: Final = 5
_MOST_ERRORS: Final = 5
_JUDGED_FROM_S: Final = 3.0
"""Before that everything is late: connections are opened, and code runs for the first time."""


class ProgressTeller:
    """Sends the progress of a run, and at last its exit code, to the command that started it."""

    def __init__(
        self,
        descriptor: int,
        options: LoadOptions,
        *,
        metrics: RunMetrics,
        health: Callable[[], Health],
        doubts: Sequence[str],
        folder: Path | None,
        most_credits: float | None,
    ) -> None:
        self._descriptor = descriptor
        self._options = options
        self._metrics, self._health, self._doubts = metrics, health, doubts
        self._folder = folder
        self._most_credits = most_credits
        self._told = Health()

    def tell(self, newest: Iterable[Second] = ()) -> None:
        """Send the progress; other greenlets go on even if the pipe is read slowly.

        ``newest`` are seconds that the metrics do not have yet.
        """
        message = ProgressMessage(progress=self._progress(newest))
        gevent.get_hub().threadpool.apply(tell, (self._descriptor, message))

    def conclude(self, exit_code: ExitCode) -> None:
        tell(self._descriptor, ProgressMessage(progress=self._progress(()), exit_code=exit_code))

    def _progress(self, newest: Iterable[Second]) -> LoadProgress:
        options, metrics, health = self._options, self._metrics, self._health()
        start_unix_s = metrics.start_unix_s
        at_s = -1.0 if start_unix_s is None else now_unix_s() - start_unix_s
        is_open = options.rate is not None
        recent, latest = health.since(self._told), metrics.recent(_RECENT_S)
        # What was asked for is not compared: the workers' numbers are some seconds old.
        judged = judge_generator(
            recent,
            asked_per_s=None,
            achieved_per_s=1.0,
            accuracy=options.accuracy,
            ok=ok_times(latest)[-1:],
            overload=describe_slowdown(metrics.at_first, latest, recent),
        )
        self._told = deepcopy(health)
        ended, errors = metrics.ended.copy(), metrics.errors.copy()
        for each in newest:
            ended += each.by_status()
            errors.update(each.errors)
        ok = times(latest.ok())
        percentiles_ms = {each: ok.percentiles[each] for each in PERCENTS} | {"max": ok.max_ms}
        return LoadProgress(
            folder=str(self._folder) if self._folder else None,
            at_s=at_s,
            ended_at_s=metrics.ended_at_s,
            duration_s=options.load_shape.duration_s,
            warm_up_s=options.warm_up_s,
            asked_per_s=options.load_shape.level(at_s) if is_open else None,
            recent_per_s=metrics.recent_per_s(_RECENT_S),
            in_flight=health.in_flight if is_open else None,
            users=options.users,
            waiting=sum(each.requests for each in health.waiting),
            longest_wait_s=max((each.waited_s for each in health.waiting), default=0.0),
            requests=ended.total(),
            by_status={status.value: ended[status] for status in RequestStatus},
            errors=_most_frequent(errors),
            percentiles_ms=percentiles_ms if ok.count else {},
            spent_credits=health.spent_credits,
            most_credits=self._most_credits,
            cpu_share=health.cpu_share,
            lateness_p99_ms=judged.lateness.percentiles["99"] if is_open else None,
            loop_lag_p99_ms=recent.loop_lag.percentile_s(99) * 1e3,
            dropped=health.dropped,
            limits=judged.reasons if at_s >= _JUDGED_FROM_S else (),
            doubts=tuple(self._doubts),
        )


def _most_frequent(errors: Mapping[Error, int]) -> tuple[ErrorCount, ...]:
    together: Counter[tuple[str, int, str]] = Counter()
    for error, count in errors.items():
        together[error.status.value, error.status_code, error.code] += count
    return tuple(
        ErrorCount(status=status, status_code=status_code or None, code=code, count=count)
        for (status, status_code, code), count in together.most_common(_MOST_ERRORS)
    )
