"""Conformance under load in one process: what it sees, and in the leading one, what it comes to."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

from knouds_harness.contract.document import load_document
from knouds_harness.contract.tiers import LIMITED_ROUTES
from knouds_harness.load.audit import Audit
from knouds_harness.load.history import History, Pages
from knouds_harness.load.ledger import Ledger
from knouds_harness.load.options import Options
from knouds_harness.load.response import Response
from knouds_harness.load.verifying import Verifier
from knouds_harness.runs.load_results import Invariant
from knouds_harness.target.personas import Persona
from knouds_harness.target.profile import Target

_OF_HISTORY: Final = {"getExecution", *LIMITED_ROUTES, *(f"{each} async" for each in LIMITED_ROUTES)}


class Verification:
    """Looks at answers; what workers saw reaches the leading process with their reports.

    The share that is asked for is of answers whose shape is judged. The history of runs, executions and rate
    limits is kept whole: a part of it would prove nothing.
    """

    def __init__(self, options: Options, target: Target, *, process: int, audit: Audit | None = None) -> None:
        """Look at nothing yet.

        Args:
            options: What is asked for.
            target: Whose waivers count.
            process: The number of this one, so that each draws for itself.
            audit: Looks at the accounts afterwards; only where the run is led.
        """
        chance = random.Random(f"{options.seed} verify {process}")
        self._verifier = Verifier(
            load_document(), share=options.verified_share, chance=chance, waivers=target.waivers
        )
        self._history = History(chance=random.Random(f"{options.seed} history {process}"))
        self._ledger = Ledger(chance=random.Random(f"{options.seed} ledger"), most_in_flight=options.users)
        self._audit = audit

    def look(self, name: str, response: Response, sender: Persona | None, body: object) -> None:
        """Look at an answer within its ``catch_response`` block, and count a broken promise as its failure.

        Args:
            name: What statistics call the request.
            response: The answer, or what there is instead.
            sender: Whose key it was sent with, if anybody's.
            body: Of the answer, if it was parsed already.
        """
        if sender is not None and name in _OF_HISTORY:
            self._history.observe(name, response, sender, _parsed(response) if body is None else body)
        broken = self._verifier.judge(name, response)
        if broken is not None:
            response.failure(broken)

    def take(self) -> Pages:
        """What this process saw since the last time."""
        pages = self._history.take()
        pages.tallies.add(self._verifier.take())
        return pages

    def receive(self, message: Mapping[str, Any]) -> None:
        """What a worker saw, as it packed it."""
        self._ledger.add(Pages.unpacked(message))

    def conclude(self) -> Iterator[str]:
        """Look at the accounts once load is over; only once.

        Yields:
            A sentence for what could not be looked at.
        """
        self._ledger.add(self.take())
        if self._audit is not None:
            yield from self._audit.after(self._ledger)

    def invariants(self) -> tuple[Invariant, ...]:
        """How each promise fared so far, here and wherever else was reported from."""
        self._ledger.add(self.take())
        return self._ledger.invariants()


def _parsed(response: Response) -> object:
    try:
        return response.json() if response.status_code else None
    except ValueError:
        return None
