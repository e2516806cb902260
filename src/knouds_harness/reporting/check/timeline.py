"""What a run sent when, how it was answered, and when findings were first seen."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.runs.findings import Finding, Verdict
from knouds_harness.runs.record import RunRecord

KINDS: Final = ("2xx", "4xx", "429", "5xx", "other", "none")
"""How a request was answered; ``other`` is 1xx and 3xx, ``none`` no whole answer."""
_COLUMNS: Final = 96
_COLUMNS_TO_A_MARK: Final = 4  # a mark is as wide as a finger


@dataclass(frozen=True, kw_only=True)
class Column:
    """What was sent in one stretch of time.

    Attributes:
        counts: Requests by kind of answer, without zeroes.
    """

    from_s: float
    counts: Mapping[str, int]

    @property
    def words(self) -> str:
        answers = ", ".join(f"{count:,} of {kind}" for kind, count in self.counts.items()) or "nothing"
        return f"from {self.from_s:.1f} s: {answers}"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Findings that were first seen at about one time.

    Attributes:
        at_share: Where, from 0 to 1.
    """

    at_share: float
    at_s: float
    findings: tuple[Finding, ...]
    fails: bool

    @property
    def words(self) -> str:
        """For a tooltip, and for people who do not see where it stands."""
        facts = list(dict.fromkeys(finding.fact for finding in self.findings))
        more = f" and {len(facts) - 3} more facts" if len(facts) > 3 else ""
        return f"after {self.at_s:.1f} s, {len(self.findings)} first seen: {', '.join(facts[:3])}{more}"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    step_s: float
    columns: tuple[Column, ...]
    marks: tuple[Mark, ...]

    @property
    def most(self) -> int:
        """Requests in the fullest column."""
        return max(sum(column.counts.values()) for column in self.columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in KINDS if any(kind in column.counts for column in self.columns))


def timeline_of(record: RunRecord) -> Timeline | None:
    """Lay the exchanges of a run out over time; None where there are none."""
    exchanges = record.exchange_by_id
    if not exchanges:
        return None
    began = min(exchange.started_at for exchange in exchanges.values())
    at_s = {each.id: (each.started_at - began).total_seconds() for each in exchanges.values()}
    step_s = max(max(at_s.values()) / _COLUMNS, 0.001)
    counts: list[Counter[str]] = [Counter() for _ in range(_COLUMNS)]
    for exchange in exchanges.values():
        counts[_column(at_s[exchange.id], step_s)][_kind(exchange)] += 1
    return Timeline(
        step_s=step_s,
        columns=tuple(
            Column(from_s=number * step_s, counts={kind: of[kind] for kind in KINDS if of[kind]})
            for number, of in enumerate(counts)
        ),
        marks=tuple(_marks(record, at_s, step_s)),
    )


def _marks(record: RunRecord, at_s: Mapping[str, float], step_s: float) -> Sequence[Mark]:
    together: dict[int, list[Finding]] = defaultdict(list)
    for finding in record.findings:
        first_s = at_s.get(finding.exchange_id or "")
        if finding.verdict is not Verdict.ADDITIVE and first_s is not None:
            together[_column(first_s, step_s) // _COLUMNS_TO_A_MARK].append(finding)
    marks = []
    for _, found in sorted(together.items()):
        found.sort(key=lambda finding: at_s[finding.exchange_id or ""])
        first_s = at_s[found[0].exchange_id or ""]
        marks.append(
            Mark(
                at_share=min(first_s / (step_s * _COLUMNS), 1.0),
                at_s=first_s,
                findings=tuple(found),
                fails=any(record.fails(finding) for finding in found),
            )
        )
    return marks


def _column(at_s: float, step_s: float) -> int:
    return min(int(at_s / step_s), _COLUMNS - 1)


def _kind(exchange: Exchange) -> str:
    if exchange.status is None:
        return "none"
    if exchange.status == 429:
        return "429"
    kind = f"{exchange.status // 100}xx"
    return kind if kind in KINDS else "other"
