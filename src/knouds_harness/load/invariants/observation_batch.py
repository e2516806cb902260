"""What a process hands on of the answers that it saw, in a few bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from knouds_harness.contract.tiers import LIMIT_BY_TIER
from knouds_harness.load.invariants.invariants import Tallies

SAME_WINDOW_S: Final = 2


class ObservedRun(NamedTuple):
    """A kind of run that was answered; equal ones are counted.

    Attributes:
        resource: ``workflows/SLUG`` or ``models/NAME``.
        cost_credits: As the answer says; None where it does not, as for asynchronous runs.
    """

    user: str
    resource: str
    cost_credits: float | None


class LimitedRoute(NamedTuple):
    """What a limit counts for: one user's runs, the asynchronous ones by themselves (whether so is open)."""

    user: str
    name: str
    tier: str

    @property
    def limit(self) -> int:
        return LIMIT_BY_TIER[self.tier]


class Ended(NamedTuple):
    """An execution whose end was seen, and of which account."""

    user: str
    execution_id: str
    status: str


@dataclass(kw_only=True)
class ObservedWindow:
    """What answers said of one window of a route.

    Attributes:
        reset_unix_s: Its end, as the first of them told it.
        remaining: How often each value of ``X-RateLimit-Remaining`` came with a success.
        throttled: How many were answered 429.
        longest_wait_s: The most that ``Retry-After`` told one of them to wait.
        waits_kept: How many came again after as long as a refusal told, and found another window.
        waits_broken: How many were refused for this one nevertheless.
    """

    reset_unix_s: int
    remaining: Counter[int] = field(default_factory=Counter)
    throttled: int = 0
    longest_wait_s: int = 0
    waits_kept: int = 0
    waits_broken: int = 0

    def is_same(self, reset_unix_s: int) -> bool:
        """Whether another answer means this window."""
        return abs(self.reset_unix_s - reset_unix_s) <= SAME_WINDOW_S

    def add(self, other: ObservedWindow) -> None:
        """Count what another process saw of it."""
        self.remaining.update(other.remaining)
        self.throttled += other.throttled
        self.longest_wait_s = max(self.longest_wait_s, other.longest_wait_s)
        self.waits_kept += other.waits_kept
        self.waits_broken += other.waits_broken


@dataclass(kw_only=True)
class ObservationBatch:
    """What a process hands on; all empty where nothing came since the last time.

    Attributes:
        tallies: What one process alone can judge.
        execution_ids: A hash of each new one, of eight bytes.
        unknown: How many requests may have counted in a window, and their answers say nothing of it.
        ended: Some of the executions whose end was seen.
        awaited: A hash of each whose end was seen, and has to be delivered.
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
