"""Invariants of a whole load run: facts, each with the part of it that many responses can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from knouds_harness.contract.capabilities import LIMIT_BY_TIER
from knouds_harness.runs.load_results import Invariant

InvariantKey = tuple[str, str]

FRESH_ID: Final = ("async.execution-id-is-fresh", "Each submit gets an executionId of its own.")
EDGES: Final = ("execution.edges", "While an execution is in flight, its status only goes forward.")
FINAL_STANDS: Final = ("execution.final-is-absorbing", "Nothing leaves completed, failed or cancelled.")
HAS_A_ROW: Final = ("usage.run-has-a-row", "Each run has a row in usage.")
IS_CHARGED: Final = ("run.charge-equals-usage", "The cost of each run is the creditsCost of a row.")
ONE_DELIVERY: Final = ("webhook.one-per-ended-execution", "Each ended execution is delivered once.")
REMAINING_FALLS: Final = ("rate.remaining-falls", "No two requests of a window are left the same Remaining.")
NO_MORE: Final = ("rate.over-limit-is-429", "No window admits more requests than the tier's limit.")
NO_FEWER: Final[Mapping[str, InvariantKey]] = {
    "pro": ("tier.rate-limit-pro", "A pro account's window admits all 100 before it refuses."),
    "business": (
        "tier.rate-limit-business",
        "A business account's window admits all 1,000 before it refuses.",
    ),
}
SLUG_OF_NAME: Final = (
    "workflows.create-makes-slug-from-name",
    "A create answers with the slug of its own name, and not of a workflow that was there.",
)
SHOWS_LAST: Final = (
    "workflows.update-takes-subset",
    "A read shows what was last written to its workflow, whatever else came at the same time.",
)
IS_THERE: Final = (
    "workflows.delete-then-404",
    "A workflow is there from its create to its delete, and not after it.",
)
NEVER_THROTTLED: Final = ("tier.rate-limit-enterprise", "An enterprise account is not rate-limited.")
WINDOWS_APART: Final = (
    "rate.window-is-fixed-60-s",
    "A window ends no sooner than 60 s after the one before.",
)
SHORT_WAIT: Final = ("rate.window-is-fixed-60-s", "No request is told to wait longer than a window lasts.")
TRUE_WAIT: Final = (
    "rate.window-is-fixed-60-s",
    "Who waits as long as Retry-After says finds another window.",
)

NEEDS: Final[Mapping[InvariantKey, str]] = {
    FRESH_ID: "a submit of an asynchronous run",
    EDGES: "two polls of an execution in flight",
    FINAL_STANDS: "an execution that was polled to its end",
    HAS_A_ROW: "a run, and usage that can be read",
    IS_CHARGED: "a run whose response says its cost, and usage that can be read",
    ONE_DELIVERY: "an execution that was polled to its end, of a key with webhook = true that holds "
    "webhook:receive, and [webhook] that leads to this machine; on the sandbox, --finish webhook",
    SHOWS_LAST: "a workflow that this load creates and then reads",
    IS_THERE: "a workflow that this load creates and then reads",
    REMAINING_FALLS: "a run of an account with a rate limit",
    NO_MORE: "a run of an account with a rate limit",
    TRUE_WAIT: "a request that was sent after the wait that an earlier 429 asked for",
}
"""What a load needs to show these invariants; the others need nothing that a report would have to name."""
OF_HISTORIES: Final = {*NEEDS, *NO_FEWER.values(), NEVER_THROTTLED, WINDOWS_APART, SHORT_WAIT}
"""Invariants that only many responses show."""
SAME_WINDOW_S: Final = 2


@dataclass
class Tally:
    """The counts of one invariant.

    Attributes:
        seen: How often it could have been broken.
        broken: How often it was broken.
        excused: How often it was broken without failing the run: it is only assumed, or waived.
        example: One of those cases, in words; a broken one if there is any.
    """

    seen: int = 0
    broken: int = 0
    excused: int = 0
    example: str = ""


@dataclass(kw_only=True)
class Tallies:
    """Counts of invariants, by fact and sentence; and how many of the responses were verified."""

    answers: int = 0
    verified: int = 0
    by_invariant: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def see(self, fact: str, says: str, count: int = 1) -> Tally:
        """Count cases in which an invariant could have been broken."""
        tally = self.by_invariant.get((fact, says))
        if tally is None:
            tally = self.by_invariant[fact, says] = Tally()
        tally.seen += count
        return tally

    def judge(self, fact: str, says: str, *, holds: bool, example: str) -> None:
        self.see(fact, says)
        if not holds:
            self.break_(fact, says, example=example)

    def break_(self, fact: str, says: str, *, example: str, count: int = 1, is_excused: bool = False) -> None:
        tally = self.by_invariant.setdefault((fact, says), Tally())
        if not tally.example or (not tally.broken and not is_excused):
            tally.example = example
        if is_excused:
            tally.excused += count
        else:
            tally.broken += count

    def add(self, other: Tallies) -> None:
        self.answers += other.answers
        self.verified += other.verified
        for (fact, says), each in other.by_invariant.items():
            self.see(fact, says, each.seen)
            if each.broken:
                self.break_(fact, says, example=each.example, count=each.broken)
            if each.excused:
                self.break_(fact, says, example=each.example, count=each.excused, is_excused=True)

    def packed(self) -> list[Any]:
        rows = [[*key, *vars(each).values()] for key, each in self.by_invariant.items()]
        return [self.answers, self.verified, rows]

    @classmethod
    def unpacked(cls, message: Sequence[Any]) -> Self:
        answers, verified, rows = message
        tallies = {(fact, says): Tally(*row) for fact, says, *row in rows}
        return cls(answers=answers, verified=verified, by_invariant=tallies)

    def invariants(self, *, needs: Mapping[tuple[str, str], str]) -> tuple[Invariant, ...]:
        """Return the invariants for the record, broken ones first; unseen ones of ``needs`` are untested."""
        judged = [
            Invariant(fact=fact, says=says, **vars(each))
            for (fact, says), each in sorted(
                self.by_invariant.items(), key=lambda item: (not item[1].broken, not item[1].excused, item[0])
            )
        ]
        unseen = [
            Invariant(fact=fact, says=says, seen=0, broken=0, missing=missing)
            for (fact, says), missing in needs.items()
            if (fact, says) not in self.by_invariant
        ]
        return (*judged, *unseen)


class ObservedRun(NamedTuple):
    """A run that got a response; equal ones are counted together.

    Attributes:
        resource: ``workflows/SLUG`` or ``models/NAME``.
        cost_credits: As the response says; None if it does not, as for asynchronous runs.
    """

    user: str
    resource: str
    cost_credits: float | None


class LimitedRoute(NamedTuple):
    """What a limit counts: one user's runs of an operation, asynchronous ones apart (no source says so)."""

    user: str
    name: str
    tier: str

    @property
    def limit(self) -> int:
        return LIMIT_BY_TIER[self.tier]


class Ended(NamedTuple):
    """An execution whose end was seen, and its account."""

    user: str
    execution_id: str
    status: str


@dataclass(kw_only=True)
class ObservedWindow:
    """What responses said of one window of a route.

    Attributes:
        reset_unix_s: Its end, as the first response told it.
        remaining: How often each value of ``X-RateLimit-Remaining`` came with a success, until it is judged.
        throttled: How many requests it refused.
        longest_wait_s: The longest wait that a ``Retry-After`` asked for.
        waits_kept: How many requests after that wait found another window.
        waits_broken: How many requests after that wait were refused for this window again.
        judged: How many requests it had admitted when it was judged.
    """

    reset_unix_s: int
    remaining: Counter[int] = field(default_factory=Counter)
    throttled: int = 0
    longest_wait_s: int = 0
    waits_kept: int = 0
    waits_broken: int = 0
    judged: int = 0
    is_judged: bool = False

    @property
    def admitted(self) -> int:
        return self.judged + self.remaining.total()

    def close(self) -> None:
        """Mark it as judged; keep only how many requests it admitted."""
        self.judged, self.is_judged = self.admitted, True
        self.remaining.clear()

    def is_same(self, reset_unix_s: int) -> bool:
        """Whether a response with this reset is about this window."""
        return abs(self.reset_unix_s - reset_unix_s) <= SAME_WINDOW_S

    def add(self, other: ObservedWindow) -> None:
        """Add what another process saw of it."""
        self.remaining.update(other.remaining)
        self.throttled += other.throttled
        self.longest_wait_s = max(self.longest_wait_s, other.longest_wait_s)
        self.waits_kept += other.waits_kept
        self.waits_broken += other.waits_broken


@dataclass(kw_only=True)
class ObservationBatch:
    """What a process observed since its last batch.

    Attributes:
        execution_ids: A hash of eight bytes of each new execution id.
        unknown: How many requests may have counted in a window without a response that says so.
        awaited: A hash of each execution that has ended and must be delivered.
        undecided: How many histories of workflows took too long to judge.
    """

    tallies: Tallies = field(default_factory=Tallies)
    execution_ids: bytearray = field(default_factory=bytearray)
    runs: Counter[ObservedRun] = field(default_factory=Counter)
    windows: dict[LimitedRoute, list[ObservedWindow]] = field(default_factory=dict)
    unknown: Counter[LimitedRoute] = field(default_factory=Counter)
    ended: list[Ended] = field(default_factory=list)
    awaited: bytearray = field(default_factory=bytearray)
    undecided: int = 0

    def packed(self) -> dict[str, Any]:
        return {
            "tallies": self.tallies.packed(),
            "execution_ids": bytes(self.execution_ids),
            "runs": [[*run, count] for run, count in self.runs.items()],
            "windows": [
                [list(route), vars(each) | {"remaining": list(each.remaining.items())}]
                for route, windows in self.windows.items()
                for each in windows
            ],
            "unknown": [[*route, count] for route, count in self.unknown.items()],
            "ended": [list(each) for each in self.ended],
            "awaited": bytes(self.awaited),
            "undecided": self.undecided,
        }

    @classmethod
    def unpacked(cls, message: Mapping[str, Any]) -> Self:
        windows: dict[LimitedRoute, list[ObservedWindow]] = {}
        for route, members in message["windows"]:
            window = ObservedWindow(**members | {"remaining": Counter(dict(members["remaining"]))})
            windows.setdefault(LimitedRoute(*route), []).append(window)
        return cls(
            tallies=Tallies.unpacked(message["tallies"]),
            execution_ids=bytearray(message["execution_ids"]),
            runs=Counter({ObservedRun(*run): count for *run, count in message["runs"]}),
            windows=windows,
            unknown=Counter({LimitedRoute(*route): count for *route, count in message["unknown"]}),
            ended=[Ended(*each) for each in message["ended"]],
            awaited=bytearray(message["awaited"]),
            undecided=message["undecided"],
        )
