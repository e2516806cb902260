"""Counting how often invariants could have been broken, and were; in one process, and over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from knouds_harness.runs.load_results import Invariant


@dataclass
class Tally:
    """How one invariant fared.

    Attributes:
        seen: How often it could have been broken.
        broken: How often it was.
        excused: How often it was where that fails no run: assumed only, or waived.
        example: One of those, in words; of broken ones if there are any.
    """

    seen: int = 0
    broken: int = 0
    excused: int = 0
    example: str = ""


@dataclass(kw_only=True)
class Tallies:
    """Invariants by fact and what had to hold, in words; and how many answers were verified, of how many."""

    answers: int = 0
    verified: int = 0
    by_invariant: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def see(self, fact: str, says: str, count: int = 1) -> Tally:
        """Count so many times at which an invariant could have been broken."""
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
        """For the record, broken ones first; one of ``needs`` that was not seen is untested."""
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
