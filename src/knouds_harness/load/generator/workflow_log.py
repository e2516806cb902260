"""What a process notes of its requests to workflows, for the process that leads to judge."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any, Final

from knouds_harness.load.client.response import Response

FOLLOWED: Final = frozenset(
    {"createWorkflow", "getWorkflow", "updateWorkflow", "moveWorkflow", "deleteWorkflow"}
)
BEGUN, ENDED, CREATED = "begun", "ended", "created"
"""Kinds of entries: a request that is about to be sent, its answer, and the slug that a create was told."""


class WorkflowLog:
    """Entries in the order in which they happened; times are those of ``time.perf_counter``."""

    def __init__(self, *, is_followed: bool) -> None:
        self._is_followed = is_followed
        self._numbers = itertools.count()
        self._entries: list[list[Any]] = []

    def begin(self, operation: str, path: str, sent: object) -> int | None:
        """Note a request that is about to be sent; return its number, or None if it is not followed."""
        if not self._is_followed or operation not in FOLLOWED:
            return None
        number = next(self._numbers)
        self._entries.append([BEGUN, number, time.perf_counter(), operation, path, json.dumps(sent)])
        return number

    def end(self, number: int, response: Response, *, created: str | None) -> None:
        """Note the answer; ``created`` is the slug that it surely made."""
        try:
            content = response.content
        except ValueError:
            content = b""
        entry = [ENDED, number, time.perf_counter(), response.status_code, content, created]
        self._entries.append(entry)

    def note_create(self, slug: str, *, is_own: bool) -> None:
        """Note the slug that a create was told: of its own workflow, or of another."""
        self._entries.append([CREATED, slug, is_own])

    def take(self) -> list[list[Any]]:
        """Return the entries since the last call."""
        taken, self._entries = self._entries, []
        return taken
