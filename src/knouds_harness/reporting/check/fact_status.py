"""The status of each fact after a run, the findings about it, and drift, which is about no fact."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Self

from knouds_harness.contract.operations import Fact
from knouds_harness.printable import counted
from knouds_harness.reporting.report import FindingGroup, Link, Tone, Words
from knouds_harness.runs.findings import Finding, Verdict, verdict_for
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.run_file import CheckTests
from knouds_harness.targets.resources import Waiver

Place = tuple[str, str | None]
"""A fact and an operation."""
_FEW: Final = 3
_ADDED_UP: Final = ("passed", "failed", "skipped", "duration_s")
_SOON: Final = timedelta(days=7)


class FactStatus(StrEnum):
    """The status of a fact, worst first.

    Attributes:
        WAIVED: It does not hold, and the profile accepts that for a while.
        VERIFIED: It was seen to hold, and never to be broken.
        UNTESTED: It was not tested: something was missing for it, or nothing in this run was about it.
    """

    label: str
    tone: Tone

    BREACH = "breach", "in breach", "bad"
    CONFLICT = "conflict", "in conflict", "bad"
    ASSUMPTION = "assumption", "assumption fails", "warn"
    WAIVED = "waived", "waived", "note"
    VERIFIED = "verified", "verified", "good"
    UNTESTED = "untested", "not tested", "plain"

    def __new__(cls, value: str, label: str, tone: Tone) -> Self:
        status = str.__new__(cls, value)
        status._value_, status.label, status.tone = value, label, tone
        return status

    @property
    def rank(self) -> int:
        return list(FactStatus).index(self)


_BY_VERDICT = {each: FactStatus[each.name] for each in (Verdict.BREACH, Verdict.CONFLICT, Verdict.ASSUMPTION)}


@dataclass(frozen=True, kw_only=True)
class FactCase:
    """One fact on one operation.

    Attributes:
        operation: The operationId; None for requests to no documented operation, or for no request at all.
        is_denied: Whether a check of it could not be made although the profile offers what it needs: the
            target contradicts the profile there, or its responses did not provide it.
    """

    operation: str | None
    status: FactStatus
    passed: int
    failed: int
    exchange_id: str | None
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    is_denied: bool = False


@dataclass(frozen=True, kw_only=True)
class FactRow:
    """One fact, over all operations.

    Attributes:
        status: The worst of all cases; verified if it held somewhere, and was broken nowhere.
    """

    fact: Fact
    status: FactStatus
    cases: tuple[FactCase, ...]
    checks: tuple[str, ...]
    recordings: tuple[str, ...] = ()
    is_selected: bool = True

    @property
    def area(self) -> str:
        return self.fact.id.partition(".")[0]

    @property
    def passed(self) -> int:
        return sum(case.passed for case in self.cases)

    @property
    def failed(self) -> int:
        return sum(case.failed for case in self.cases)

    @property
    def seen_on(self) -> tuple[str, ...]:
        """The operations on which it held or was broken; ``others`` are undocumented operations."""
        return tuple(case.operation or "others" for case in self.cases if case.passed or case.failed)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for case in self.cases for reason in case.missing))

    @property
    def is_counted(self) -> bool:
        """Whether it counts among the facts of the run: the run is about it, or saw it broken."""
        return self.is_selected or self.status.rank < FactStatus.VERIFIED.rank

    @property
    def is_missed(self) -> bool:
        """Whether it was not tested although the profile makes that possible.

        If no reason is known, its checks saw nothing that they could judge. If the sources disagree, a fact
        may show only when it is broken.
        """
        if self.status is not FactStatus.UNTESTED:
            return False
        if self.missing:
            return any(case.is_denied for case in self.cases)
        return bool(self.checks) and self.fact.conflict is None


def fact_rows(record: RunRecord) -> tuple[FactRow, ...]:
    selected = record.setup.selected
    cases = _cases_by_fact(record)
    checks = defaultdict(list)
    for check in record.setup.checks.values():
        for fact in check.facts:
            checks[fact].append(check.id)
    return tuple(
        FactRow(
            fact=fact,
            status=worst(case.status for case in cases[fact.id]),
            cases=cases[fact.id],
            checks=tuple(checks[fact.id]),
            recordings=tuple(record.setup.recordings.get(fact.id, ())),
            is_selected=selected is None or fact.id in selected,
        )
        for fact in record.setup.facts.values()
    )


def status_counts(rows: Iterable[FactRow]) -> dict[FactStatus, int]:
    """Count the facts of the run by status, zeroes included, worst first."""
    counts = Counter(row.status for row in rows if row.is_counted)
    return {status: counts[status] for status in FactStatus}


def _cases_by_fact(record: RunRecord) -> Mapping[str, tuple[FactCase, ...]]:
    findings: dict[Place, list[Finding]] = defaultdict(list)
    for finding in record.findings:
        if finding.verdict is not Verdict.CONTRADICTION:
            findings[finding.fact, finding.operation].append(finding)
    passed, failed = Counter[Place](), Counter[Place]()
    shown: dict[Place, str | None] = {}
    for result in record.results:
        place = (result.fact, result.operation)
        passed[place] += result.passed
        failed[place] += result.failed
        shown[place] = result.failed_exchange or shown.get(place) or result.passed_exchange
    missing: dict[Place, dict[str, None]] = defaultdict(dict)
    denied = set()
    for untested in record.untested:
        missing[untested.fact, untested.operation][untested.missing] = None
        if untested.cause != "profile":
            denied.add((untested.fact, untested.operation))
    cases: dict[str, tuple[FactCase, ...]] = defaultdict(tuple)
    for place in dict.fromkeys([*shown, *findings, *missing]):
        if fact := record.setup.facts.get(place[0]):
            case = FactCase(
                operation=place[1],
                status=_status(fact, findings[place], passed=passed[place], failed=failed[place]),
                passed=passed[place],
                failed=failed[place],
                exchange_id=shown.get(place),
                findings=tuple(findings[place]),
                missing=tuple(missing[place]),
                is_denied=place in denied,
            )
            cases[fact.id] = (*cases[fact.id], case)
    return cases


def _status(fact: Fact, findings: list[Finding], *, passed: int, failed: int) -> FactStatus:
    against = [status_of(finding) for finding in findings if finding.verdict in _BY_VERDICT]
    if against:
        return worst(against)
    if failed and not findings:  # counted, and the finding itself is gone from the record
        return _BY_VERDICT[verdict_for(fact)]
    return FactStatus.VERIFIED if passed else FactStatus.UNTESTED


def status_of(finding: Finding) -> FactStatus:
    """Return the status that a finding gives to its fact; with drift alone, a fact is untested."""
    if finding.waived_by is not None:
        return FactStatus.WAIVED
    return _BY_VERDICT.get(finding.verdict, FactStatus.UNTESTED)


def worst(statuses: Iterable[FactStatus]) -> FactStatus:
    return min(statuses, key=lambda each: each.rank, default=FactStatus.UNTESTED)


def contradictions_of(record: RunRecord) -> tuple[Finding, ...]:
    return tuple(each for each in record.findings if each.verdict is Verdict.CONTRADICTION)


@dataclass(frozen=True, kw_only=True)
class WaiverRow:
    """A waiver: ``expired`` (it waives nothing any more), ``used``, ``unused`` or ``not selected``."""

    waiver: Waiver
    findings: tuple[Finding, ...]
    state: str
    ends_soon: bool


_WAIVED_BY: Final = ("fingerprint", "check", "operation", "status", "code", "fact")


def waiver_rows(record: RunRecord) -> list[WaiverRow]:
    """Return the profile's waivers; a run about some facts selects those that name one of them."""
    selected, day = record.setup.selected, record.started_at.date()
    rows = []
    for waiver in record.setup.target.waivers:
        is_expired = waiver.is_expired(day)
        findings = tuple(
            each
            for each in record.findings
            if (is_expired or each.waived_by is not None)
            and waiver.matches(**{name: getattr(each, name) for name in _WAIVED_BY})
        )
        unused = "unused" if selected is None or waiver.fact in selected else "not selected"
        rows.append(
            WaiverRow(
                waiver=waiver,
                findings=findings,
                state="expired" if is_expired else "used" if findings else unused,
                ends_soon=not is_expired and waiver.is_expired(day + _SOON),
            )
        )
    return rows


def untested_rows(record: RunRecord) -> dict[str, list[str]]:
    """Return the facts of the run that were not tested, by what is missing for them; most facts first."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for row in fact_rows(record):
        if row.is_selected and row.status is FactStatus.UNTESTED:
            for missing in row.missing:
                waiting[missing].append(row.fact.id)
    return dict(sorted(waiting.items(), key=lambda item: (-len(item[1]), item[0])))


def family_rows(record: RunRecord) -> list[CheckTests]:
    """Add up the tests of each family, in the order in which its first test ended."""
    families: dict[str, CheckTests] = {}
    for each in record.tests:
        family = each.check.partition(".")[0]
        sum_ = families.get(family, CheckTests(check=family, operation=None))
        added = {name: getattr(sum_, name) + getattr(each, name) for name in _ADDED_UP}
        families[family] = replace(sum_, **added)
    return list(families.values())


def findings_by_fact(record: RunRecord) -> list[FindingGroup]:
    """Group the findings about facts; leave out drift and contradictions of the profile."""
    about_facts = [
        each for each in record.findings if each.verdict not in (Verdict.ADDITIVE, Verdict.CONTRADICTION)
    ]
    # the failing ones first, then the shortest reproduction
    about_facts.sort(key=lambda each: (not record.fails(each), len(each.reproduction)))
    return finding_groups(about_facts, record.setup.facts)


def finding_groups(findings: Iterable[Finding], facts: Mapping[str, Fact]) -> list[FindingGroup]:
    """Group findings by fact: the worst first, otherwise in the document's order.

    Of facts that one cause may break, one about which two responses contradict each other tells it best.
    """
    by_fact: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_fact[finding.fact].append(finding)
    places = {fact_id: index for index, fact_id in enumerate(facts)}
    ranked = []
    for fact_id, found in by_fact.items():
        status, fact = worst(map(status_of, found)), facts.get(fact_id)
        group = FindingGroup(
            name=fact_id,
            label="undocumented" if found[0].verdict is Verdict.ADDITIVE else status.label,
            tone=status.tone,
            title=fact.says if fact else "",
            about=_about(fact_id, fact, found),
            findings=found,
        )
        is_contradicted = any(each.is_contradicted for each in found)
        ranked.append((status.rank, not is_contradicted, places.get(fact_id, len(places)), group))
    return [group for *_, group in sorted(ranked, key=lambda each: each[:-1])]


def _about(fact_id: str, fact: Fact | None, findings: list[Finding]) -> list[Words]:
    seen = sum(finding.count for finding in findings)
    counts = f"{counted(len(findings), 'finding')}, seen {counted(seen, 'time')}"
    if fact is None:
        return [counts]
    conflict = [f"The sources disagree. {fact.conflict}"] if fact.conflict else []
    return [(Link(fact_id, f"#fact-{fact_id}"), f" · source: {fact.source} · {counts}"), *conflict]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One thing that the document does not name, wherever it was seen: a finding for each operation."""

    where: str
    observed: str
    findings: tuple[Finding, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that show it; empty for deliveries."""
        return tuple(finding.operation for finding in self.findings if finding.operation)

    @property
    def seen_on(self) -> str:
        """Up to three of the operations by name, else how many."""
        if not self.operations:
            return "webhook deliveries" if self.where.startswith("delivery") else "any request"
        few = len(self.operations) <= _FEW
        return ", ".join(self.operations) if few else f"{len(self.operations)} operations"

    @property
    def count(self) -> int:
        return sum(finding.count for finding in self.findings)

    @property
    def rank(self) -> int:
        """What a client meets first: a new code, then a new member, then all else."""
        return 0 if self.where == "/code" else 1 if self.where.startswith("/") else 2


def drift_of(record: RunRecord) -> list[Drift]:
    """Return the drift of a run: codes, then members; what most operations show comes first."""
    found: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in record.findings:
        if finding.verdict is Verdict.ADDITIVE:
            found[finding.check, finding.where, finding.observed].append(finding)
    together = [
        Drift(where=where, observed=observed, findings=tuple(findings))
        for (_, where, observed), findings in found.items()
    ]
    return sorted(together, key=lambda drift: (drift.rank, -len(drift.findings)))
