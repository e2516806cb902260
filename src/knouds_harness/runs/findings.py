"""Findings of a run: what each means, how to reproduce it, and whether it fails the run."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from knouds_harness.contract.operations import Fact, Source
from knouds_harness.errors import ExitCode
from knouds_harness.printable import counted

LEFT_BEHIND: Final = "Left on the target"
"""Begins the note on what could not be deleted, which fails a run that nothing else fails."""
OWN_CODE_FAILED: Final = "Your own code failed"
INTERMEDIARY: Final = "envelopes.intermediary"
"""The check of answers that never came from the API."""
CUT_SHORT: Final = "Cut short"
"""Begins the note of a run that tested less than its profile and limits had promised."""
MOST_OUTSIDE: Final = 0.2
"""The share of answers from something in front of the API above which a headline names it first."""
ALARM_AFTER: Final = "--alarm-after"
"""In the reason of a waiver that only waits for the next nights."""
LESS_VERIFIED: Final = "Less verified than"
"""Begins the note of a run that only its baseline fails."""


class Verdict(StrEnum):
    """What a difference from the document means.

    Attributes:
        BREACH: Something documented is broken.
        CONFLICT: The sources disagree, and the server follows the one that lost.
        ASSUMPTION: Something undocumented, which this project assumed, does not hold.
        CONTRADICTION: The target contradicts its profile: the profile is wrong, or the server.
        ADDITIVE: Something new that the document does not know; legal, and listed as drift.
        UNTESTED: The target's profile made the check impossible.
    """

    BREACH = "breach"
    CONFLICT = "conflict"
    ASSUMPTION = "assumption"
    CONTRADICTION = "contradiction"
    ADDITIVE = "additive"
    UNTESTED = "untested"


class RunOutcome(StrEnum):
    """How a run ended.

    Attributes:
        KEPT: It was completed, and nothing failed it.
        BROKEN: It was completed, and at least one finding failed it.
        SHORT: It was completed, and verified less than was asked for, or than the baseline: see the note.
        UNTESTED: It was completed, and could exercise nothing of what was asked for.
        INTERRUPTED: A user, or the end of its process, cut it short.
        STOPPED: A guard, an unreachable target or a full disk cut it short; the note says which.
        FAILED: The harness itself failed, so nothing is proven.
        RUNNING: It has not ended; only seen in the file of a run that is still being written.
    """

    KEPT = "kept"
    BROKEN = "broken"
    SHORT = "short"
    UNTESTED = "untested"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"
    RUNNING = "running"

    @property
    def is_complete(self) -> bool:
        return self in (RunOutcome.KEPT, RunOutcome.BROKEN, RunOutcome.SHORT)


OUTCOME_BY_EXIT_CODE: Final = {
    ExitCode.KEPT: RunOutcome.KEPT,
    ExitCode.BREACH: RunOutcome.BROKEN,
    ExitCode.INVALID_MEASUREMENT: RunOutcome.FAILED,
    ExitCode.INTERRUPTED: RunOutcome.INTERRUPTED,
    ExitCode.GUARD: RunOutcome.STOPPED,
    ExitCode.UNREACHABLE: RunOutcome.STOPPED,
    ExitCode.USAGE: RunOutcome.STOPPED,
}
"""For load runs, which end with no other exit code."""


def verdict_for(fact: Fact) -> Verdict:
    if fact.conflict is not None:
        return Verdict.CONFLICT
    return Verdict.ASSUMPTION if fact.source is Source.ASSUMED else Verdict.BREACH


def fails_run(verdict: Verdict, *, strict: bool, is_waived: bool) -> bool:
    if is_waived:
        return False
    failing = (Verdict.BREACH, Verdict.CONFLICT, Verdict.CONTRADICTION)
    return verdict in failing or (strict and verdict is Verdict.ASSUMPTION)


def difference(expected: str, observed: str, where: str) -> str:
    place = f" at {where}" if where else ""
    return f"expected {expected}{place}, observed {observed}"


_ARRAY_INDEX = re.compile(r"/\d+(?=/|$)")
_MOST_LINES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A part of another response, ``where`` as of a finding."""

    exchange_id: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was not as the document says, however often it was seen.

    Attributes:
        where: JSON pointer into the response's body, ``header NAME``, or empty for the whole response.
        reasons: Why another answer was expected: each documented reason to refuse, and whether it applied.
        picture: The requests that overlapped and their responses, drawn as text.
        status: None if no response came.
        exchange_id: The first exchange that showed it.
        trace_id: The id of that exchange in traces and logs of the server; empty if none was sent.
        curl: A line that sends that request again, keys left as shell variables.
        compared: What it was compared with, if that is in few responses.
        steps: The exchanges that show it, in the order sent, if it takes more than one.
        script: Lines for a shell that send all of them again; empty if it takes one.
        test: The test of the suite that showed it, as pytest names it; empty for recorded traffic and load.
        fingerprint: The same for the same finding in every run.
        waived_by: The reason and the last day of the waiver that accepts it, if one does.
    """

    check: str
    family: str
    fact: str
    operation: str | None
    persona: str | None
    verdict: Verdict
    source: Source
    expected: str
    observed: str
    where: str = ""
    picture: str = ""
    reasons: tuple[str, ...] = ()
    status: int | None = None
    code: str | None = None
    exchange_id: str | None
    curl: str
    trace_id: str = ""
    compared: tuple[Compared, ...] = ()
    steps: tuple[str, ...] = ()
    script: str = ""
    test: str = ""
    fingerprint: str
    count: int = 1
    waived_by: str | None = None

    @property
    def is_about_delivery(self) -> bool:
        """Whether it is about a webhook delivery, which is the target's request and not ours."""
        return self.operation is None and (self.exchange_id or "").startswith("w")  # w00005; ours are x00005

    @property
    def is_about_intermediary(self) -> bool:
        return self.check == INTERMEDIARY

    @property
    def is_contradicted(self) -> bool:
        """Whether another kind of response tells the same thing differently, such as a row of usage."""
        return bool(self.where) and any(each.where not in ("", self.where) for each in self.compared)

    @property
    def may_fail_later(self) -> bool:
        """Whether it is waived only until more nights have shown it."""
        return ALARM_AFTER in (self.waived_by or "")

    @property
    def who(self) -> str:
        if self.is_about_delivery:
            return "webhook delivery"
        if self.is_about_intermediary:
            return f"in front of the API: {self.observed}, {counted(self.count, 'time')}"
        key = f"as {self.persona}" if self.persona else "without a key"
        return f"{self.operation or 'no operation'} {key}"

    @property
    def difference(self) -> str:
        if self.verdict is Verdict.CONTRADICTION:
            return f"{self.expected}, but {self.observed}"
        return difference(self.expected, self.observed, self.where)

    @property
    def reproduction(self) -> str:
        return self.script or self.curl

    @property
    def has_long_script(self) -> bool:
        return self.script.count("\n") > _MOST_LINES

    def fails(self, *, strict: bool) -> bool:
        return fails_run(self.verdict, strict=strict, is_waived=self.waived_by is not None)

    def shorter_of(self, other: Finding) -> Finding:
        """Of two with the same fingerprint, return the one with fewer steps or less text, and both counts."""
        sizes = [(len(each.steps), len(each.script)) for each in (self, other)]
        kept = other if sizes[1] < sizes[0] else self
        return replace(kept, count=self.count + other.count, test=kept.test or self.test or other.test)


def script_file(finding: Finding) -> str:
    return f"reproduce-{finding.fingerprint}.sh"


def fingerprint(
    *,
    check: str,
    fact: str,
    operation: str | None,
    where: str = "",
    status: int | None = None,
    code: str | None = None,
) -> str:
    """Name a finding, in 12 hexadecimal digits, by what is the same in every run that finds it.

    Personas, slugs, ids, times and generated values stay out, and so does the position in an array.
    """
    place = _ARRAY_INDEX.sub("/*", where)
    identity = json.dumps([check, fact, operation, place, status, code])
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
