"""Counts promises over a whole load run: how often each could have been broken, and how often it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from knouds_harness.judging.checks import concurrency, executions, rate_limits, usage, workflows
from knouds_harness.judging.claim import Check, Claim
from knouds_harness.runs.load_results import Invariant

Promise = tuple[str, str]
"""A fact, and the part of it that is counted, in the words of the check that judges it."""


def promise(check: Check[...], fact: str = "") -> Promise:
    """Return what is counted for a check, and for a fact if it judges several."""
    return fact or check.facts[0], check.sentence


FRESH_ID: Final = promise(executions.fresh_id)
EDGES: Final = promise(executions.edges)
FINAL_STANDS: Final = promise(executions.edges, "execution.final-is-absorbing")
HAS_A_ROW: Final = promise(usage.reconciled, "usage.run-has-a-row")
IS_CHARGED: Final = promise(usage.reconciled)
SLUG_OF_NAME: Final = promise(workflows.made_slug)
SHOWS_LAST: Final = promise(concurrency.updates_in_some_order)
IS_THERE: Final = promise(concurrency.deletes_in_some_order)
REMAINING_FALLS: Final = promise(rate_limits.remaining_never_rises)
NO_MORE: Final = promise(concurrency.burst)
WINDOWS_APART: Final = promise(rate_limits.ends_apart)
SHORT_WAIT: Final = promise(rate_limits.told_wait)
TRUE_WAIT: Final = promise(rate_limits.window_turned)
NEVER_THROTTLED: Final = promise(rate_limits.enterprise)

NEEDS: Final[Mapping[Promise, str]] = {
    FRESH_ID: "a submit of an asynchronous run",
    EDGES: "two polls of an execution in flight",
    FINAL_STANDS: "an execution that was polled to its end",
    HAS_A_ROW: "a run, and usage that can be read",
    IS_CHARGED: "a run whose response says its cost, and usage that can be read",
    SHOWS_LAST: "a workflow that this load creates and then reads",
    IS_THERE: "a workflow that this load creates and then reads",
    REMAINING_FALLS: "a run of an account with a rate limit",
    NO_MORE: "a run of an account with a rate limit",
    TRUE_WAIT: "a request that was sent after the wait that an earlier 429 asked for",
}
"""What a load needs to show these promises; the others need nothing that a report would have to name."""
OF_HISTORIES: Final = {
    *NEEDS,
    *(promise(rate_limits.within_limit, fact) for fact in rate_limits.within_limit.facts),
    NEVER_THROTTLED,
    WINDOWS_APART,
    SHORT_WAIT,
}
"""Promises that only many responses show."""


@dataclass
class Tally:
    """How often one promise could have been broken, and was, as in an ``Invariant``."""

    seen: int = 0
    broken: int = 0
    excused: int = 0
    example: str = ""


@dataclass(kw_only=True)
class Tallies:
    """Counts by promise; and how many of the responses were verified."""

    answers: int = 0
    verified: int = 0
    by_promise: defaultdict[Promise, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def see(self, fact: str, says: str, count: int = 1) -> None:
        """Count cases in which a promise could have been broken."""
        self.by_promise[fact, says].seen += count

    def break_(self, fact: str, says: str, *, example: str, count: int = 1, is_excused: bool = False) -> None:
        tally = self.by_promise[fact, says]
        if not tally.example or (not tally.broken and not is_excused):
            tally.example = example
        if is_excused:
            tally.excused += count
        else:
            tally.broken += count

    def judge(self, fact: str, says: str, *, holds: bool, example: str) -> None:
        self.see(fact, says)
        if not holds:
            self.break_(fact, says, example=example)

    def claim(self, check: Check[...], claim: Claim, *, about: str, count: int = 1) -> None:
        """Count what a check claims; ``about`` says of what, such as an execution."""
        key = promise(check, claim.fact)
        self.see(*key, count)
        if not claim.holds:
            self.break_(*key, count=count, example=f"{about}: {claim.difference}")

    def invariants(self, *, needs: Mapping[Promise, str]) -> tuple[Invariant, ...]:
        """Return the promises for the record, broken ones first; unseen ones of ``needs`` are untested."""
        judged = [
            Invariant(fact=fact, says=says, **vars(each))
            for (fact, says), each in sorted(
                self.by_promise.items(), key=lambda item: (not item[1].broken, not item[1].excused, item[0])
            )
        ]
        unseen = [
            Invariant(fact=fact, says=says, seen=0, broken=0, missing=missing)
            for (fact, says), missing in needs.items()
            if (fact, says) not in self.by_promise
        ]
        return (*judged, *unseen)
