"""What the responses in one process say of runs, executions and rate limits, until it is handed on.

Memory does not grow with the length of a run: what must be compared across the run is handed on in a few
bytes (``aggregation`` adds up the processes), and only executions in flight are remembered.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from knouds_harness.contract.capabilities import LIMIT_BY_TIER, UNLIMITED, WINDOW_S
from knouds_harness.contract.operations import RUN_OPERATIONS
from knouds_harness.exchange.execution_status import FINAL, IN_FLIGHT, NEXT_BY_STATUS
from knouds_harness.load.client.response import Response
from knouds_harness.load.collection.seconds import now_unix_s
from knouds_harness.load.invariants.invariants import (
    EDGES,
    NEVER_THROTTLED,
    NO_FEWER,
    SAME_WINDOW_S,
    SHORT_WAIT,
    SLUG_OF_NAME,
    TRUE_WAIT,
    Ended,
    LimitedRoute,
    ObservationBatch,
    ObservedRun,
    ObservedWindow,
)
from knouds_harness.targets.personas import Persona
from knouds_harness.whole_numbers import whole_number

SHOWING_STATUS: Final = ("getExecution", "cancelExecution")
_STATUSES: Final = IN_FLIGHT | FINAL
_RESOURCE: Final = re.compile(r"/api/(workflows|models|executions)/([^/?]+)")
_MOST_IN_FLIGHT: Final = 100_000
_MOST_ENDED: Final = 10
_ROUNDING_S: Final = 2.0  # Retry-After and Reset are whole seconds, each rounded its own way
_MILLISECONDS: Final = 10**11
_MOST_CREDITS: Final = 1e15
"""Larger amounts are ignored: sums would lose digits, or overflow."""


class Observations:
    """Reads responses as they come."""

    def __init__(self, *, chance: random.Random, clock: Callable[[], float] = now_unix_s) -> None:
        self._chance = chance
        self._clock = clock
        self._batch = ObservationBatch()
        self._ended = 0
        self._in_flight: dict[str, str] = {}
        self._wait_until: dict[LimitedRoute, tuple[int, float]] = {}
        self._plain_runs: dict[tuple[str, str, float], int] = {}
        self._unlimited = 0
        self._now_s = 0.0

    def observe_create(self, slug: str, *, is_own: bool) -> None:
        """Judge a create by the slug in its response: of its own workflow, or of another."""
        example = f"createWorkflow was answered {slug!r}, which does not show the name that was sent"
        self._batch.tallies.judge(*SLUG_OF_NAME, holds=is_own, example=example)

    def take(self) -> ObservationBatch:
        for (user, url, cost_credits), count in self._plain_runs.items():
            self._batch.runs[ObservedRun(user, _resource_in(url), round(cost_credits, 6))] += count
        if self._unlimited:
            self._batch.tallies.see(*NEVER_THROTTLED, self._unlimited)
        self._plain_runs, self._unlimited = {}, 0
        taken, self._batch = self._batch, ObservationBatch()
        self._ended = 0
        return taken

    def observe(
        self, name: str, response: Response, sender: Persona, body: object, *, at_unix_s: float | None = None
    ) -> None:
        """Observe the response to a request of this name, or that none came; ``body`` is None if not JSON."""
        self._now_s = self._clock() if at_unix_s is None else at_unix_s
        if response.status_code == 200 and sender.tier == UNLIMITED and name in RUN_OPERATIONS:
            cost = body.get("cost") if isinstance(body, dict) else None
            # The usual case, in a fifth of the time; the bounds refuse not-a-number.
            if (type(cost) is int or type(cost) is float) and 0 <= cost < _MOST_CREDITS:
                run = sender.user, response.url, cost
                self._plain_runs[run] = self._plain_runs.get(run, 0) + 1
                self._unlimited += sender.role != "admin"
                return
        operation, _, way = name.partition(" ")
        if operation in RUN_OPERATIONS:
            self._observe_run(response, sender, body if isinstance(body, dict) else {}, is_async=bool(way))
            if sender.role != "admin":
                self._observe_limit(name, response, sender, body)
        elif operation in SHOWING_STATUS and 200 <= response.status_code < 300 and isinstance(body, dict):
            self._observe_status(response, sender, body)

    # Runs

    def _observe_run(
        self, response: Response, sender: Persona, body: Mapping[str, Any], *, is_async: bool
    ) -> None:
        status = response.status_code
        if 200 <= status < 300:
            cost = None if is_async else _amount(body.get("cost"))
            self._batch.runs[ObservedRun(sender.user, _resource(response), cost)] += 1
        elif status == 500 and body.get("code") == "EXECUTION_FAILED":
            self._batch.runs[ObservedRun(sender.user, _resource(response), None)] += 1
        execution_id = body.get("executionId") if is_async and 200 <= status < 300 else None
        if isinstance(execution_id, str):
            self._batch.execution_ids += hash_of(execution_id)
            status_told = body.get("status")
            if isinstance(status_told, str) and status_told in IN_FLIGHT:
                self._remember(execution_id, status_told)

    def _observe_status(self, response: Response, sender: Persona, body: Mapping[str, Any]) -> None:
        execution_id, status = _resource(response).partition("/")[2], body.get("status")
        if not isinstance(status, str) or status not in _STATUSES:
            return
        before = self._in_flight.pop(execution_id, None)
        if before is not None:
            self._batch.tallies.judge(
                *EDGES,
                holds=status in NEXT_BY_STATUS[before],
                example=f"{execution_id}: {before}, then {status}",
            )
        if status in FINAL:
            self._keep_some(Ended(sender.user, execution_id, status))
            if sender.webhook and sender.holds("webhook:receive"):
                self._batch.awaited += hash_of(execution_id)
        else:
            self._remember(execution_id, status)

    def _remember(self, execution_id: str, status: str) -> None:
        if len(self._in_flight) >= _MOST_IN_FLIGHT:  # the oldest is no longer polled
            del self._in_flight[next(iter(self._in_flight))]
        self._in_flight[execution_id] = status

    def _keep_some(self, ended: Ended) -> None:
        self._ended += 1
        if len(self._batch.ended) < _MOST_ENDED:
            self._batch.ended.append(ended)
        elif (place := self._chance.randrange(self._ended)) < _MOST_ENDED:
            self._batch.ended[place] = ended

    # Limits

    def _observe_limit(self, name: str, response: Response, sender: Persona, body: object) -> None:
        is_refused = (
            response.status_code == 429
            and isinstance(body, dict)
            and body.get("code") == "RATE_LIMIT_EXCEEDED"
        )
        if sender.tier == UNLIMITED:
            self._batch.tallies.see(*NEVER_THROTTLED)
            if is_refused:
                self._batch.tallies.break_(*NEVER_THROTTLED, example=f"{name} of {sender.user}: 429")
        if sender.tier not in LIMIT_BY_TIER:
            return
        route = LimitedRoute(sender.user, name, sender.tier)
        is_admitted = 200 <= response.status_code < 300
        headers: Mapping[str, str] = response.headers if response.status_code else {}
        reset_unix_s = whole_number(headers.get("x-ratelimit-reset"))
        remaining = whole_number(headers.get("x-ratelimit-remaining"))
        told_limit = whole_number(headers.get("x-ratelimit-limit"))
        if told_limit is not None:
            self._batch.tallies.judge(
                NO_FEWER[sender.tier][0],
                f"X-RateLimit-Limit tells the limit of {sender.tier}, {route.limit:,}.",
                holds=told_limit == route.limit,
                example=f"{name} of {sender.user}: {told_limit}",
            )
        if not (is_admitted or is_refused):
            self._batch.unknown[route] += 1
        elif reset_unix_s is not None and reset_unix_s < _MILLISECONDS:
            window = self._window(route, reset_unix_s)
            if is_refused:
                window.throttled += 1
            elif remaining is not None:
                window.remaining[remaining] += 1
            wait_s = whole_number(headers.get("retry-after")) if is_refused else None
            self._observe_wait(route, reset_unix_s, wait_s, getattr(response, "elapsed_ms", 0.0) / 1e3)

    def _observe_wait(
        self, route: LimitedRoute, reset_unix_s: int, wait_s: int | None, took_s: float
    ) -> None:
        """Judge whether a request after the wait that a refusal asked for is refused in the same window."""
        if wait_s is not None:
            window = self._window(route, reset_unix_s)
            window.longest_wait_s = max(window.longest_wait_s, wait_s)
            self._batch.tallies.judge(
                *SHORT_WAIT,
                holds=wait_s <= WINDOW_S + _ROUNDING_S,
                example=f"{route.name} of {route.user}: Retry-After: {wait_s}",
            )
        now_s = self._now_s
        told = self._wait_until.get(route)
        is_told_window = told is not None and abs(told[0] - reset_unix_s) <= SAME_WINDOW_S
        if told is not None and now_s - took_s >= told[1] + _ROUNDING_S:
            is_refused_again = wait_s is not None and is_told_window
            self._batch.tallies.judge(
                *TRUE_WAIT,
                holds=not is_refused_again,
                example=f"{route.name} of {route.user}: refused again "
                f"{now_s - took_s - told[1]:.0f} s after the wait",
            )
            waited_for = self._window(route, told[0])
            waited_for.waits_broken += is_refused_again
            waited_for.waits_kept += not is_refused_again
            if not is_refused_again:
                del self._wait_until[route]
                told = None
        if wait_s is not None:
            until_s = now_s + wait_s
            earliest_s = min(until_s, told[1]) if told is not None and is_told_window else until_s
            self._wait_until[route] = (reset_unix_s, earliest_s)

    def _window(self, route: LimitedRoute, reset_unix_s: int) -> ObservedWindow:
        return window_of(self._batch.windows.setdefault(route, []), reset_unix_s)


def window_of(windows: list[ObservedWindow], reset_unix_s: int) -> ObservedWindow:
    """Return the window that ends then; add one if there is none."""
    for window in reversed(windows):
        if window.is_same(reset_unix_s):
            return window
    windows.append(ObservedWindow(reset_unix_s=reset_unix_s))
    return windows[-1]


def merge_windows(
    into: dict[LimitedRoute, list[ObservedWindow]],
    routes: Iterable[tuple[LimitedRoute, list[ObservedWindow]]],
) -> None:
    for route, windows in routes:
        known = into.setdefault(route, [])
        for each in windows:
            window_of(known, each.reset_unix_s).add(each)


def hash_of(execution_id: str) -> bytes:
    return blake2b(execution_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _resource(response: Response) -> str:
    return _resource_in(response.url or "")


@lru_cache(maxsize=256)
def _resource_in(url: str) -> str:
    found = _RESOURCE.search(url)
    return f"{found[1]}/{found[2]}" if found else ""


def _amount(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _MOST_CREDITS:
        return None
    return round(float(value), 6)
