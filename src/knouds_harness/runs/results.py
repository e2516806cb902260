"""The shape of ``run.json``, with what a run counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final, Literal

from pydantic import TypeAdapter

from knouds_harness.runs.findings import Finding, RunOutcome
from knouds_harness.runs.header import RunSetup

FORMAT: Final = "knouds-harness run"
FORMAT_VERSION: Final = 1

Cause = Literal["profile", "contradiction", "answers"]
MORE_CREDITS: Final = "more credits than"
"""How a text begins that says that the credits did not suffice."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How often one fact held, and did not hold, in one check on one operation.

    Attributes:
        check: Id of the check.
        fact: Id of the fact.
        operation: The operationId; None for requests to no documented operation.
        passed: How many exchanges kept the fact.
        failed: How many exchanges broke it.
        passed_exchange: The first that kept it.
        failed_exchange: The first that did not.
    """

    check: str
    fact: str
    operation: str | None
    passed: int
    failed: int
    passed_exchange: str | None
    failed_exchange: str | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One try of one operation as one persona.

    Attributes:
        operation: The operationId.
        persona: A key of the profile, or one that was made for the run.
        expected: ``admitted`` or ``denied``.
        observed: Status and code of the response.
        ok: Whether that is what the document says.
        exchange_id: The exchange that shows it.
    """

    operation: str
    persona: str
    expected: str
    observed: str
    ok: bool
    exchange_id: str | None


@dataclass(frozen=True, kw_only=True)
class UntestedFact:
    """A fact that could not be checked, and what is missing for it.

    Attributes:
        cause: ``profile``: the profile lacks what is missing; ``contradiction``: the target contradicts the
            profile about it; ``answers``: the target's responses did not provide it.
    """

    check: str
    fact: str
    operation: str | None
    missing: str
    cause: Cause = "profile"


@dataclass(frozen=True, kw_only=True)
class CheckTests:
    """The results of the tests of one check on one operation, or on none in particular.

    Attributes:
        check: Id of the check.
        operation: The operationId that they were parametrized with.
        passed: How many passed.
        failed: How many failed.
        skipped: How many were skipped.
        duration_s: Time that they took together.
    """

    check: str
    operation: str | None
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UsageShown:
    """What usage showed of the charges of a run when it was last read.

    Attributes:
        credits: The charges of the accounts whose usage can be read; None if there was none.
        given_back_credits: What was reserved besides, and not charged.
        unread: Accounts that sent runs, and whose usage cannot be read.
        is_settled: Whether it was read late enough after the last run: ``limits.settle_s``.
    """

    credits: float | None = None
    given_back_credits: float = 0.0
    unread: tuple[str, ...] = ()
    is_settled: bool = True


def cost_words(cost_credits: float, usage: UsageShown | None) -> str:
    shown = usage.credits if usage else None
    if usage is None or shown is None:
        return f"at most {cost_credits:,.10g} credits" if cost_credits else ""
    if not usage.is_settled:
        words = f"{max(shown, 0):,.10g} credits so far (usage, not settled yet)"
        return f"{words}, {cost_credits:,.10g} by the answers" if cost_credits > shown else words
    unread = max(0.0, cost_credits - shown)
    words = f"charged {shown:,.10g} credits (usage)"
    if unread and usage.unread:
        words += f", at most {unread:,.10g} more of {', '.join(usage.unread)}"
    elif unread:
        words = f"charged {shown:,.10g} credits by usage, {cost_credits:,.10g} by the answers"
    if usage.given_back_credits:
        words += f", {usage.given_back_credits:,.10g} more reserved and given back"
    return words if cost_credits or shown or usage.given_back_credits else ""


@dataclass(frozen=True, kw_only=True)
class PairsWalked:
    """Pairs of values of a request (its operation, key, resource, body and form) in requests that were sent.

    Attributes:
        sent: How many were.
        possible: How many the profile allows.
        added_by: What the profile lacks, with how many more pairs it would allow.
    """

    sent: int
    possible: int
    added_by: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The totals of a run.

    Attributes:
        exchanges: Requests sent.
        answers: Number of responses by status; ``none`` if no complete response came.
        passed: Claims that held.
        failed: Claims that did not.
        findings: Different findings, by verdict.
        cost_credits: Credits charged: as the server says, or the most that it may have if it does not say.
        usage: What usage showed of that at the end; None if it was not read, as in older records.
        pairs: The pairs of values that were walked; None if no test did, as in older records.
    """

    exchanges: int
    answers: Mapping[str, int]
    passed: int
    failed: int
    findings: Mapping[str, int]
    cost_credits: float
    usage: UsageShown | None = None
    pairs: PairsWalked | None = None


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """The contents of ``run.json``.

    Attributes:
        written_at: When it was last written, UTC: for a run that has ended, its end.
        tests: Results of the tests of each check; none in older records.
        endless: Keys of which no asynchronous run ended within the profile's deadline.
    """

    format: Literal["knouds-harness run"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    kind: str
    outcome: RunOutcome
    exit_code: int | None
    note: str
    started_at: datetime
    written_at: datetime
    counts: Counts
    setup: RunSetup
    results: tuple[Result, ...]
    cells: tuple[Cell, ...]
    untested: tuple[UntestedFact, ...]
    tests: tuple[CheckTests, ...] = ()
    endless: tuple[str, ...] = ()


@cache
def run_file_format() -> TypeAdapter[RunFile]:
    return TypeAdapter(RunFile)


@cache
def finding_format() -> TypeAdapter[Finding]:
    return TypeAdapter(Finding)
