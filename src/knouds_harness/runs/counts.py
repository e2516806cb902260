"""Counts during a run: exchanges, results of checks, and what could not be checked."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.run_file import (
    Cell,
    CheckTests,
    Counts,
    PairsWalked,
    Result,
    UntestedFact,
    UsageShown,
)
from knouds_harness.targets.budget import Budget

_ABOUT_EXECUTIONS: Final = "execution."


@dataclass(slots=True)
class _Tally:
    passed_by: Counter[str | None] = field(default_factory=Counter)
    failed: int = 0
    passed_exchange: str | None = None
    failed_exchange: str | None = None

    @property
    def passed(self) -> int:
        return self.passed_by.total()


class RunCounts:
    """Counts during a run; what is spent of its budget is its cost."""

    def __init__(self) -> None:
        self._sent = 0
        self._answers: Counter[str] = Counter()
        self._tallies: dict[tuple[str, str, str | None], _Tally] = {}
        self._untested: dict[UntestedFact, None] = {}
        self._tests: dict[tuple[str, str | None], CheckTests] = {}
        self.cells: list[Cell] = []
        self._pairs: PairsWalked | None = None
        self.endless: tuple[str, ...] = ()
        self.budget: Budget | None = None
        self.usage: UsageShown | None = None

    @property
    def cost_credits(self) -> float:
        return self.budget.spent_credits if self.budget else 0.0

    def add_exchange(self, exchange: Exchange) -> None:
        self._sent += 1
        self._answers["none" if exchange.status is None else str(exchange.status)] += 1

    def add_result(
        self,
        *,
        check: str,
        fact: str,
        operation: str | None,
        persona: str | None = None,
        passed: bool,
        exchange_id: str | None,
    ) -> None:
        key = (check, fact, operation)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        if passed:
            tally.passed_by[persona] += 1
            tally.passed_exchange = tally.passed_exchange or exchange_id
        else:
            tally.failed += 1
            tally.failed_exchange = tally.failed_exchange or exchange_id

    def add_untested(self, untested: UntestedFact) -> None:
        self._untested[untested] = None

    def add_pairs(self, *, sent: int, possible: int, added_by: Mapping[str, int]) -> None:
        known = self._pairs or PairsWalked(sent=0, possible=0, added_by={})
        self._pairs = PairsWalked(
            sent=known.sent + sent,
            possible=known.possible + possible,
            added_by=Counter(known.added_by) + Counter(added_by),
        )

    def add_test(
        self,
        *,
        check: str,
        operation: str | None,
        outcome: Literal["passed", "failed", "skipped"],
        duration_s: float,
    ) -> None:
        key = (check, operation)
        known = self._tests.get(key) or CheckTests(check=check, operation=operation)
        counted = {outcome: getattr(known, outcome) + 1}
        self._tests[key] = replace(known, duration_s=known.duration_s + duration_s, **counted)

    @property
    def is_all_skipped(self) -> bool:
        tests = self._tests.values()
        return bool(tests) and not any(each.passed or each.failed for each in tests)

    def note_endless(self, personas: Collection[str], *, of_accounts: Collection[str]) -> None:
        """Record that no asynchronous run of these keys ended in time: they prove nothing of executions."""
        self.endless = tuple(personas)
        for (check, fact, operation), tally in self._tallies.items():
            if fact.startswith(_ABOUT_EXECUTIONS) and not tally.passed_by.keys().isdisjoint(of_accounts):
                for persona in of_accounts:
                    del tally.passed_by[persona]
                missing = f"an execution of {' or '.join(personas)} that ends by its deadline"
                self.add_untested(
                    UntestedFact(
                        check=check, fact=fact, operation=operation, missing=missing, cause="answers"
                    )
                )

    @property
    def verified_facts(self) -> frozenset[str]:
        seen = {fact for (_, fact, _), tally in self._tallies.items() if tally.passed}
        against = {fact for (_, fact, _), tally in self._tallies.items() if tally.failed}
        return frozenset(seen - against)

    @property
    def untested(self) -> tuple[UntestedFact, ...]:
        """What could not be checked so far; a cause in the server replaces one in the profile."""
        of_server = [each for each in self._untested if each.cause != "profile"]
        places = {(each.check, each.fact, each.operation) for each in of_server}
        of_profile = [
            each
            for each in self._untested
            if each.cause == "profile" and (each.check, each.fact, each.operation) not in places
        ]
        return (*of_profile, *of_server)

    @property
    def tests(self) -> tuple[CheckTests, ...]:
        return tuple(self._tests.values())

    def counts(self, findings: Iterable[Finding]) -> Counts:
        tallies = self._tallies.values()
        return Counts(
            exchanges=self._sent,
            answers=dict(sorted(self._answers.items())),
            passed=sum(tally.passed for tally in tallies),
            failed=sum(tally.failed for tally in tallies),
            findings=Counter(finding.verdict.value for finding in findings),
            cost_credits=self.cost_credits,
            usage=self.usage,
            pairs=self._pairs,
        )

    def results(self) -> tuple[Result, ...]:
        return tuple(
            Result(
                check=check,
                fact=fact,
                operation=operation,
                passed=tally.passed,
                failed=tally.failed,
                passed_exchange=tally.passed_exchange,
                failed_exchange=tally.failed_exchange,
            )
            for (check, fact, operation), tally in self._tallies.items()
        )
