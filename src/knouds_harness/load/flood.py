"""Flood: how much a server can take, at the price of what is told about each request.

A flood fires no event per request: request listeners, plugins and checks see nothing of it. It counts by
itself and tells Locust's statistics, and a recorder, four times a second. For anything but raw capacity use
``KnoudsUser``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from typing import Any, ClassVar

import gevent
from locust import stats as locust_stats
from locust import task
from locust.stats import RequestStats, StatsEntry
from locust.user.wait_time import constant

from knouds_harness.errors import UsageError
from knouds_harness.load.histograms import Histogram, middle_of
from knouds_harness.load.outcomes import outcome_of
from knouds_harness.load.recording import Recorder
from knouds_harness.load.response import BadStatus, Response
from knouds_harness.load.session import PreparedRequest
from knouds_harness.load.transport_failures import TransportFailure
from knouds_harness.load.users import KnoudsUser

_BATCH_S = 0.25


class FloodUser(KnoudsUser):
    """Sends prepared requests one after another, as fast as the answers come.

    Response times run from answer to answer, so they include what the generator itself needed. A request that
    got no answer counts as a failure, and the user waits a moment before the next.
    """

    abstract = True
    wait_time = constant(0)

    recorder: ClassVar[Recorder | None] = None
    """Gets every count as well; set it to a ``Recording``'s, which cannot listen to events that are not
    fired."""

    def prepared(self) -> Sequence[PreparedRequest]:
        """What to send, over and over, in this order; made with ``self.client.prepare``."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Prepare the requests.

        Raises:
            UsageError: They go to several servers, or one of them is a HEAD.
        """
        prepared = self.prepared()
        if len({request.client for request in prepared}) != 1 or any(
            request.method == "HEAD" for request in prepared
        ):
            raise UsageError("a flood goes to one server, and sends no HEAD")
        self._kinds = [_Kind(request) for request in prepared]
        self._next = cycle(self._kinds)
        self._pump = prepared[0].client.pump

    @task
    def flood(self) -> None:
        """Send for a quarter of a second, then tell what came of it."""
        clock, kinds = time.perf_counter, self._next
        end = clock() + _BATCH_S
        kind = next(kinds)
        started = clock()

        def told(status_code: int, size_bytes: int) -> bytes | None:
            nonlocal kind, started
            now = clock()
            duration_ns = int((now - started) * 1e9)
            started = now
            shift = duration_ns.bit_length() - 11  # histograms.bucket_of, without the call
            bucket = (shift << 10) + (duration_ns >> shift) if shift > 0 else duration_ns
            tally = kind.tallies[status_code]
            tally.counts[bucket] = tally.counts.get(bucket, 0) + 1
            tally.size_bytes += size_bytes
            if now >= end:
                return None
            kind = next(kinds)
            return kind.request

        while started < end:
            try:
                self._pump(kind.request, told, lasting_s=_BATCH_S)
            except TransportFailure as failure:
                self._tell_failure(kind, failure, (clock() - started) * 1000)
                gevent.sleep(_BATCH_S / 10)
                kind = next(kinds)
            started = clock()
        for kind in self._kinds:
            self._tell(kind)

    def _tell(self, kind: _Kind) -> None:
        for status_code, tally in kind.tallies.items():
            total = sum(tally.counts.values())
            if not total:
                continue
            failure = BadStatus(_status_only(status_code)) if status_code >= 400 else None
            stats = self.environment.stats
            entry = _entry(stats, kind, tally, total)
            for told in (stats.entries[kind.name, kind.method], stats.total):
                told.extend(entry)
            if failure:
                for _ in range(total):
                    stats.log_error(kind.method, kind.name, failure)
            if self.recorder:
                self.recorder.add(
                    kind.name, outcome_of(status_code, failure), status_code, Histogram(tally.counts)
                )
        kind.tallies.clear()

    def _tell_failure(self, kind: _Kind, failure: TransportFailure, duration_ms: float) -> None:
        stats = self.environment.stats
        stats.log_request(kind.method, kind.name, duration_ms, 0)
        stats.log_error(kind.method, kind.name, failure)
        if self.recorder:
            self.recorder.on_request(name=kind.name, response_time=duration_ms, exception=failure)


class _Tally:
    """What came of one kind of request with one status, since the last batch was told."""

    __slots__ = ("counts", "size_bytes")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.size_bytes = 0


class _Kind:
    """A request and its tallies by status."""

    def __init__(self, prepared: PreparedRequest) -> None:
        self.name, self.method, self.request = prepared.name, prepared.method, prepared.request
        self.tallies: defaultdict[int, _Tally] = defaultdict(_Tally)


def _status_only(status_code: int) -> Response:
    response = Response()
    response.status_code = status_code
    return response


def _entry(stats: RequestStats, kind: _Kind, tally: _Tally, total: int) -> StatsEntry:
    """A batch as Locust's own statistics have it when they come from a worker."""
    entry = StatsEntry(stats, kind.name, kind.method)
    now = time.time()
    times_ms = {bucket: middle_of(bucket) / 1e6 for bucket in tally.counts}
    entry.num_requests = total
    entry.num_reqs_per_sec[int(now)] = total
    entry.start_time = entry.last_request_timestamp = now
    entry.total_content_length = tally.size_bytes
    values: dict[str, Any] = {  # Locust means ints, and counts floats as well
        "total_response_time": sum(times_ms[bucket] * count for bucket, count in tally.counts.items()),
        "min_response_time": min(times_ms.values()),
        "max_response_time": max(times_ms.values()),
    }
    for name, value in values.items():
        setattr(entry, name, value)
    for bucket, count in tally.counts.items():
        entry.response_times[locust_stats.bucket_response_time(times_ms[bucket])] += count
    return entry
