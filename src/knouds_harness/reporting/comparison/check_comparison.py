"""Compares two conformance runs: which findings are new, gone or still there, and which facts changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.check.fact_status import FactStatus, fact_rows
from knouds_harness.reporting.run_section import chosen_options
from knouds_harness.runs.findings import Finding, RunOutcome, Verdict
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.run_file import MORE_CREDITS

_CHOICES: Final = ("--family", "--operation", "--fact")


@dataclass(frozen=True, kw_only=True)
class CheckFigures:
    """One run of ``check`` or ``verify``.

    Attributes:
        doubt: Why what it did not find proves nothing; empty if it does.
        selected: The facts that the run was about; None for all.
        reasons: What tests of each fact lacked; not in older summaries.
        choice: The options that chose its tests, such as ``--quick``; empty in older summaries.
        is_rotating: Whether earlier nights paid for the rest (``--rotate``).
    """

    run: str
    started_at: datetime
    target: str
    base_url: str
    document_version: str
    doubt: str
    facts: Mapping[str, FactStatus]
    findings: tuple[Finding, ...]
    failing: tuple[str, ...]
    selected: frozenset[str] | None = None
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choice: str = ""
    is_rotating: bool = False


def check_figures(record: RunRecord) -> CheckFigures:
    doubts = [gap for gap in record.gaps if gap.startswith("findings")]
    rows = fact_rows(record)
    if not record.outcome.is_complete and record.outcome is not RunOutcome.UNTESTED:
        doubts.insert(0, "It did not come to its end.")
    return CheckFigures(
        run=record.folder.resolve().name,
        started_at=record.started_at,
        target=record.setup.target.name,
        base_url=record.setup.target.base_url,
        document_version=record.setup.document.version,
        doubt=" ".join(doubts),
        facts={row.fact.id: row.status for row in rows},
        findings=record.findings,
        failing=tuple(each.fingerprint for each in record.findings if record.fails(each)),
        reasons={row.fact.id: row.missing for row in rows if row.missing},
        selected=None if record.setup.selected is None else frozenset(record.setup.selected),
        choice=chosen_options(record.setup.command, flags=("--quick",), valued=_CHOICES),
        is_rotating=bool(chosen_options(record.setup.command, flags=(), valued=("--rotate",))),
    )


@dataclass(frozen=True, kw_only=True)
class CheckComparison:
    """The comparison of two conformance runs.

    Attributes:
        against: The name of the baseline: a run, or a summary that was kept.
        regressions: Findings that fail the run now and did not before, new ones or no longer waived.
        not_looked_for: Findings that are missing now and whose fact was not tested.
        lost: Facts that were verified before and are not tested now, although the run is about them; if it
            chose other tests, those that lack something that the baseline had.
        facts: Facts whose status changed, the worst first: before and now.
    """

    against: str
    baseline: CheckFigures
    candidate: CheckFigures
    regressions: tuple[Finding, ...]
    new: tuple[Finding, ...]
    still: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    not_looked_for: tuple[Finding, ...]
    lost: tuple[str, ...]
    facts: Mapping[str, tuple[FactStatus, FactStatus]]
    notes: tuple[str, ...]

    @property
    def choice(self) -> str:
        """The options that chose other tests than those of the baseline; empty if none did."""
        if self.candidate.choice == self.baseline.choice:
            return ""
        words = self.candidate.choice.split()
        return " and ".join(dict.fromkeys(word for word in words if word.startswith("--")))

    @property
    def known(self) -> frozenset[str]:
        """The fingerprints of what the baseline had found, also of what breaks nothing."""
        return frozenset(each.fingerprint for each in self.baseline.findings)

    def newly_missing(self, waiting: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return what facts that were not tested lack, without what they lacked in the baseline, too."""
        before = self.baseline.reasons
        left = {
            missing: [fact for fact in facts if missing not in before.get(fact, ())]
            for missing, facts in waiting.items()
        }
        return {missing: facts for missing, facts in left.items() if facts}

    @property
    def lost_with_reasons(self) -> list[str]:
        """The facts that were lost, each with what it lacks and the baseline had."""
        return [f"{fact}: {self._reason(fact)}" for fact in self.lost]

    def _reason(self, fact: str) -> str:
        now, before = (side.reasons.get(fact, ()) for side in (self.candidate, self.baseline))
        new = [each for each in now if each not in before]
        return f"needs {' or '.join(new or now)}" if now else "nothing was about it"

    @property
    def is_valid(self) -> bool:
        return not (self.baseline.doubt or self.candidate.doubt)

    @property
    def is_worse(self) -> bool:
        return bool(self.regressions or self.lost) and not self.baseline.doubt

    @property
    def exit_code(self) -> ExitCode:
        if self.is_worse:
            return ExitCode.BREACH
        return ExitCode.KEPT if self.is_valid else ExitCode.INVALID_MEASUREMENT


def compare_checks(baseline: CheckFigures, candidate: CheckFigures, *, against: str = "") -> CheckComparison:
    """Compare two conformance runs by the fingerprints of findings, without drift: it depends on requests."""
    before, now = (
        {each.fingerprint: each for each in run.findings if each.verdict is not Verdict.ADDITIVE}
        for run in (baseline, candidate)
    )
    regressed = set(candidate.failing) - set(baseline.failing)
    missing = [each for key, each in before.items() if key not in now]
    asked = candidate.facts if candidate.selected is None else candidate.selected
    unseen = [
        each
        for each in missing
        if each.fact not in asked or candidate.facts.get(each.fact) in (None, FactStatus.UNTESTED)
    ]
    return CheckComparison(
        against=against or baseline.run,
        baseline=baseline,
        candidate=candidate,
        regressions=tuple(each for key, each in now.items() if key in regressed),
        new=tuple(each for key, each in now.items() if key not in before and key not in regressed),
        still=tuple(each for key, each in now.items() if key in before and key not in regressed),
        gone=tuple(each for each in missing if each not in unseen),
        not_looked_for=tuple(unseen),
        lost=tuple(_lost_facts(baseline, candidate)),
        facts={
            fact: (earlier, later)
            for fact, later in sorted(candidate.facts.items(), key=lambda each: each[1].rank)
            if (earlier := baseline.facts.get(fact, FactStatus.UNTESTED)) is not later
        },
        notes=tuple(_notes(baseline, candidate)),
    )


def _lost_facts(baseline: CheckFigures, candidate: CheckFigures) -> Iterator[str]:
    if candidate.doubt:
        return
    chose_others = candidate.choice not in ("", baseline.choice)
    for fact, before in baseline.facts.items():
        is_asked_for = candidate.selected is None or fact in candidate.selected
        now = candidate.facts.get(fact, FactStatus.UNTESTED)
        reasons = candidate.reasons.get(fact, ())
        # Without one, the test that showed the fact may have been left out.
        lacks_more = not set(reasons) <= set(baseline.reasons.get(fact, ()))
        is_another_nights = candidate.is_rotating and any(each.startswith(MORE_CREDITS) for each in reasons)
        is_lost = before is FactStatus.VERIFIED and now is FactStatus.UNTESTED
        is_left_out = chose_others and not lacks_more
        if is_lost and is_asked_for and not (is_left_out or is_another_nights):
            yield fact


def _notes(baseline: CheckFigures, candidate: CheckFigures) -> Iterator[str]:
    for run in (baseline, candidate):
        if run.doubt:
            yield f"{run.run}: {run.doubt}"
    if baseline.target != candidate.target:
        yield f"Two targets: {baseline.target} before, {candidate.target} now."
    if baseline.document_version != candidate.document_version:
        yield f"Two editions of the contract: {baseline.document_version} and {candidate.document_version}."
    if candidate.selected is not None:
        yield f"{candidate.run} was about {len(candidate.selected)} selected facts."
