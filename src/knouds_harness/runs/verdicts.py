"""What a finding means, how a run ends, and which findings fail it."""

from enum import StrEnum
from typing import Final

from knouds_harness.contract.sources import Fact, Source
from knouds_harness.errors import ExitCode

LEFT_BEHIND: Final = "Left on the target"
OWN_CODE_FAILED: Final = "Your own code failed"
"""How a note begins of what could not be deleted; it fails a run that nothing else fails."""
LESS_VERIFIED: Final = "Less verified than"
"""How the note begins of a run that only its baseline fails."""


class Verdict(StrEnum):
    """What it means that something was not as the document says.

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
        KEPT: It came to its end, and nothing failed it.
        BROKEN: It came to its end, and at least one finding failed it.
        SHORT: It came to its end, and verified less than was asked for, or than the baseline: see the note.
        UNTESTED: It came to its end, and nothing of what was asked for could be exercised.
        INTERRUPTED: Somebody, or the end of its process, cut it short.
        STOPPED: A guard, an unreachable target or a full disk cut it short; the note says which.
        FAILED: The harness itself failed, so that nothing is proven.
        RUNNING: It has not ended; only ever seen in the file of a run that is still being written.
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
        """Whether everything was tested that could be."""
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
"""Of load runs, which end in nothing else."""


def verdict_for(fact: Fact) -> Verdict:
    if fact.conflict is not None:
        return Verdict.CONFLICT
    return Verdict.ASSUMPTION if fact.source is Source.ASSUMED else Verdict.BREACH


def fails_run(verdict: Verdict, *, strict: bool, is_waived: bool) -> bool:
    if is_waived:
        return False
    failing = (Verdict.BREACH, Verdict.CONFLICT, Verdict.CONTRADICTION)
    return verdict in failing or (strict and verdict is Verdict.ASSUMPTION)
