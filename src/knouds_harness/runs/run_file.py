"""What ``run.json`` holds: the setup of a run, its results and counts. Reports need nothing else."""

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Final, Literal

from pydantic import TypeAdapter

from knouds_harness.contract.document import shipped_document
from knouds_harness.contract.operations import Fact
from knouds_harness.printable import counted
from knouds_harness.runs.findings import Finding, RunOutcome
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Waiver

FORMAT: Final = "knouds-harness run"
FORMAT_VERSION: Final = 1

Cause = Literal["profile", "contradiction", "answers"]
MORE_CREDITS: Final = "more credits than"
"""How a text begins that says that the credits did not suffice."""


# --- the setup


@dataclass(frozen=True, kw_only=True)
class RunPersona:
    """A key that the target's profile names; the words are those of ``Persona``."""

    name: str
    capabilities: tuple[str, ...]
    user: str
    tier: str
    role: str
    state: str
    credits: str | float


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """The target as its profile describes it, without its secrets.

    Attributes:
        missing: Reasons by name of what the profile names but this machine lacked, such as ``keys.pro``.
    """

    name: str
    base_url: str
    production: bool
    limits: Limits
    personas: Mapping[str, RunPersona]
    missing: Mapping[str, str]
    waivers: tuple[Waiver, ...]


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    """The edition of the document that the run checked against."""

    title: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RunOperation:
    """An operation; one of the capabilities in ``needs`` is enough, and none is needed if it is empty."""

    id: str
    method: str
    path: str
    tag: str
    needs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunCheck:
    """A check, and the promise that it checks in one sentence."""

    id: str
    family: str
    sentence: str
    facts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """The setup of a run, as recorded.

    Attributes:
        checks: Checks by id, in the order in which reports show them.
        host: The machine that it ran on, without its name; empty in older records.
        recordings: Names of the recordings of each fact; none in older records.
        selected: The facts that the run is about, in the document's order; None for all of them.
        faults: Faults of the sandbox; older records have none, and no ``examples``.
        legal: The seed of the sandbox's choices where no source decides; None for its own.
        between: The seed of what stood before the sandbox; None for nothing.
        examples: How many inputs each property was tried with; None if none was.
    """

    tool_version: str
    python_version: str
    command: tuple[str, ...]
    seed: int
    strict: bool
    target: RunTarget
    document: RunDocument
    facts: Mapping[str, Fact]
    operations: Mapping[str, RunOperation]
    checks: Mapping[str, RunCheck]
    host: str = ""
    recordings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    selected: tuple[str, ...] | None = None
    faults: tuple[str, ...] = ()
    legal: str | None = None
    between: str | None = None
    examples: int | None = None


def run_setup(
    target: Target, *, seed: int, checks: Iterable[RunCheck] = (), command: Sequence[str] = ()
) -> RunSetup:
    """Make the setup of a run by this tool on this machine; it holds no secret.

    The default of ``command`` is that of this process.
    """
    document = shipped_document()
    return RunSetup(
        tool_version=version("knouds-harness"),
        python_version=platform.python_version(),
        host=f"{platform.platform()}, {os.cpu_count()} cores",
        command=tuple(command or sys.argv),
        seed=seed,
        strict=False,
        target=_kept_target(target),
        document=RunDocument(title=document.title, version=document.version, sha256=document.sha256),
        facts=document.facts,
        operations={
            each.id: RunOperation(
                id=each.id, method=each.method, path=each.path, tag=each.tag, needs=each.alternatives
            )
            for each in document.operations
        },
        checks={each.id: each for each in checks},
    )


def _kept_target(target: Target) -> RunTarget:
    return RunTarget(
        name=target.name,
        base_url=target.base_url,
        production=bool(target.production),
        limits=target.limits,
        personas={
            each.name: RunPersona(
                name=each.name,
                capabilities=tuple(sorted(each.capabilities)),
                user=each.user,
                tier=each.tier,
                role=each.role,
                state=each.state,
                credits=each.credits,
            )
            for each in target.personas.values()
        },
        missing=target.missing,
        waivers=target.waivers,
    )


# --- results


@dataclass(frozen=True, kw_only=True)
class Result:
    """How often one fact held, and did not hold, in one check on one operation.

    Attributes:
        operation: The operationId; None for requests to no documented operation.
        passed_exchange: The first exchange that kept it.
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
        persona: A key of the profile, or one that was made for the run.
        expected: ``admitted`` or ``denied``.
        observed: Status and code of the response.
        ok: Whether that is what the document says.
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
    """The results of the tests of one check on one operation, or on none in particular."""

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
        is_most: Whether it shows more runs than were sent.
    """

    credits: float | None = None
    given_back_credits: float = 0.0
    unread: tuple[str, ...] = ()
    is_settled: bool = True
    is_most: bool = False

    @property
    def words(self) -> str:
        charged = counted(self.credits or 0.0, "credit")
        if not self.is_most:
            return f"charged {charged} (usage)"
        return f"charged at most {charged} (usage; other clients of the account may be in it)"


@dataclass(frozen=True, kw_only=True)
class PairsWalked:
    """Pairs of values of a request (its operation, key, resource, body and form) in requests that were sent.

    Attributes:
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
