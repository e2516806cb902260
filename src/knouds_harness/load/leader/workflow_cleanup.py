"""The workflows that a load creates: announced before it, deleted after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from gevent.event import Event

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.exchange.creation_record import Ledger
from knouds_harness.exchange.workflow_removal import MOST_WAIT_S
from knouds_harness.targets.guards import Guard
from knouds_harness.targets.profile import Target


class WorkflowCleanup:
    """Keeps a ledger of the workflows that the load may create, and deletes them at the end."""

    def __init__(
        self, target: Target, *, write: Callable[[bytes], object] | None, yes_production: bool
    ) -> None:
        """Read which workflows there are; ``write`` takes the lines of the ledger."""
        self._created = CreatedWorkflows(target=target, ledger=Ledger(write=write))
        self._yes_production = yes_production
        self._hurry = Event()
        with self._client() as client:
            client.list_existing()

    def announce(self, token: str) -> None:
        """Note that workflows whose name has this token are the run's."""
        self._created.announce_all(token)

    def hurry(self) -> None:
        self._hurry.set()

    def remove(self, *, has_created: bool, is_urgent: bool) -> Sequence[str]:
        """Delete what was created; return what is left, in words."""
        if not has_created:
            self._created.record.finish(left=0)
            return ()
        with self._client() as client:
            return client.remove_left(most_wait_s=0 if is_urgent else MOST_WAIT_S, wait=self._wait).left

    def _client(self) -> Client:
        guard = Guard(self._created.target, yes_production=self._yes_production)
        return Client(target=self._created.target, guard=guard, created=self._created)

    def _wait(self, seconds: float) -> None:
        until = datetime.now(UTC).astimezone() + timedelta(seconds=seconds)
        sys.stderr.write(f"waiting {seconds:.0f} s to delete workflows: throttled until {until:%H:%M:%S}\n")
        if self._hurry.wait(seconds):
            raise KeyboardInterrupt
