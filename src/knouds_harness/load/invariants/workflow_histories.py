"""Judges whether reads of workflows that the load created show what was written, in some serial order.

The processes that send log their requests to workflows; the one that leads judges them.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from knouds_harness.judging.serial_order import Access, TimedRequest, judge_history, register
from knouds_harness.judging.workflow_model import accesses_of
from knouds_harness.load.client.response import Response
from knouds_harness.load.invariants.tallies import IS_THERE, SHOWS_LAST, Tallies

FOLLOWED: Final = frozenset(
    {"createWorkflow", "getWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow"}
)
BEGUN, ENDED = "begun", "ended"
"""Kinds of entries: a request that is about to be sent, and its answer."""
_MEMBERS: Final = ("name", "description")
_CREATE: Final = "createWorkflow"
_SLUG: Final = re.compile(r"/api/workflows/([^/?]+)")
_MOST_WORKFLOWS: Final = 10_000


class WorkflowLog:
    """What a process noted of its requests, in order; times are those of ``time.perf_counter``.

    If the others are not followed, it has creates alone.
    """

    def __init__(self, *, is_followed: bool) -> None:
        self._is_followed = is_followed
        self._numbers = itertools.count()
        self._entries: list[list[Any]] = []

    def begin(self, operation: str, path: str, sent: object) -> int | None:
        """Note a request that is about to be sent; return its number, or None if it is not followed."""
        if operation not in FOLLOWED or not (self._is_followed or operation == _CREATE):
            return None
        number = next(self._numbers)
        self._entries.append([BEGUN, number, time.perf_counter(), operation, path, json.dumps(sent)])
        return number

    def end(self, number: int, response: Response, *, slug: str | None, is_own: bool) -> None:
        """Note the answer, and the slug that it told of a create: of its own workflow, or of another."""
        try:
            content = response.content
        except ValueError:
            content = b""
        entry = [ENDED, number, time.perf_counter(), response.status_code, content, slug, is_own]
        self._entries.append(entry)

    def take(self) -> list[list[Any]]:
        taken, self._entries = self._entries, []
        return taken


@dataclass(kw_only=True, eq=False)
class WorkflowRequest:
    """A request to a workflow; ``status`` is None until a response comes, which may be never."""

    operation: str
    slug: str
    sent: Mapping[str, Any]
    began_s: float
    ended_s: float = math.inf
    status: int | None = None
    shown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def surely_ended_s(self) -> float:
        return self.ended_s if 0 < (self.status or 0) < 500 else math.inf

    def describe(self, about: str) -> str:
        values = [f"{name} {access.value}" for name, access in _accesses(self) if about and name == about]
        return f"{' '.join([self.operation, *values])}: {self.status or 'no answer'}"


def _accesses(request: WorkflowRequest) -> Iterator[tuple[str, Access]]:
    return accesses_of(request.operation, request.status, request.sent, request.shown, members=_MEMBERS)


@dataclass(kw_only=True)
class _History:
    """The requests to one workflow since its ``states`` were known."""

    states: Mapping[str, Collection[Hashable]]
    requests: list[WorkflowRequest] = field(default_factory=list)


class WorkflowHistories:
    """Follows the workflows that one process created: no other process writes to them."""

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}
        self._open: dict[int, WorkflowRequest] = {}

    def begin(self, number: int, operation: str, path: str, sent: object, *, at_s: float) -> None:
        """Note a request that was sent then."""
        found = _SLUG.search(path)
        request = WorkflowRequest(
            operation=operation,
            slug=found[1] if found else "",
            sent=sent if isinstance(sent, dict) else {},
            began_s=at_s,
        )
        history = self._histories.get(request.slug)
        if history is not None:
            history.requests.append(request)
        if history is not None or operation == _CREATE:
            self._open[number] = request

    def end(self, number: int, status: int, body: object, *, created: str | None, at_s: float) -> None:
        """Note the response (``status`` 0 if none came); ``created`` is the slug that it surely made."""
        request = self._open.pop(number, None)
        if request is None:
            return
        request.ended_s, request.status = at_s, status or None
        request.shown = body if isinstance(body, dict) else {}
        if created is not None and len(self._histories) < _MOST_WORKFLOWS:
            states: dict[str, Collection[Hashable]] = {"": (True,)}
            states |= {name: (access.value,) for name, access in _accesses(request) if access.is_write}
            self._histories[created] = _History(states=states)

    def judge(self, tallies: Tallies) -> int:
        """Judge each workflow without open requests; return how many took too long."""
        waiting = {each.slug for each in self._open.values()}
        ready = [slug for slug, each in self._histories.items() if each.requests and slug not in waiting]
        return sum(not self._is_decided(tallies, slug) for slug in ready)

    def _is_decided(self, tallies: Tallies, slug: str) -> bool:
        history = self._histories[slug]

        def accesses(request: WorkflowRequest) -> list[tuple[str, Access]]:
            return [(name, access) for name, access in _accesses(request) if name in history.states]

        model = register(
            initial=history.states.__getitem__, partition=accesses, describe=WorkflowRequest.describe
        )
        timed = [
            TimedRequest(began_s=each.began_s, ended_s=each.surely_ended_s, what=each)
            for each in history.requests
        ]
        verdict = judge_history(model, timed)
        if verdict.is_consistent is not None:
            for request in history.requests:
                for name, access in accesses(request):
                    if not access.is_write:
                        tallies.see(*(SHOWS_LAST if name else IS_THERE))
        if verdict.contradiction is not None:
            example = f"{slug}: {verdict.contradiction}"
            tallies.break_(*(SHOWS_LAST if verdict.contradiction.name else IS_THERE), example=example)
        history.requests, history.states = [], {**history.states, **verdict.states}
        if not verdict.is_consistent or history.states[""] == {False}:
            del self._histories[slug]
        return verdict.is_consistent is not None
