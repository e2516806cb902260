"""What the history keeps of a run, so that its folder may go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from knouds_harness.reporting.run_section import typed_words
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import RunOutcome

_FLAGS: Final = ("--quick", "--strict")
_CHOICES: Final = ("--family", "--operation", "--fact", "--examples", "--fault", "--variant")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        exit_code: None where the run did not come to that.
        setting: What else was asked for: ``open, 200/s`` or ``--quick``.
        is_valid: Whether a load run's generator kept up; None for other runs.
    """

    folder: str
    kind: str
    target: str
    started_at: datetime
    outcome: RunOutcome
    exit_code: int | None
    seed: int
    tool_version: str
    contract_version: str
    duration_s: float
    cost_credits: float
    findings: Mapping[str, int]
    scenario: str = ""
    setting: str = ""
    is_valid: bool | None = None
    is_pruned: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether its figures tell of the target: it came to its end, and its generator kept up."""
        return self.outcome.is_complete and self.is_valid is not False

    @property
    def series(self) -> str:
        """What was done, in words: only runs of which they are the same are compared."""
        what = f"{self.scenario} on {self.target}" if self.scenario else f"{self.kind} of {self.target}"
        return f"{what}, {self.setting}" if self.setting else what


def entry_of(record: RunRecord) -> Entry:
    load = record.load.results if record.load else None
    return Entry(
        folder=record.folder.name,
        kind=record.kind,
        target=record.setup.target.name,
        started_at=record.started_at,
        outcome=record.outcome,
        exit_code=record.exit_code,
        seed=record.setup.seed,
        tool_version=record.setup.tool_version,
        contract_version=record.setup.document.version,
        duration_s=record.duration_s,
        cost_credits=load.cost_credits if load else record.counts.cost_credits,
        findings=dict(record.counts.findings),
        scenario=load.plan.scenario if load else "",
        setting=_setting(record),
        is_valid=load.validity.is_valid if load else None,
    )


def _setting(record: RunRecord) -> str:
    """What makes the figures of two runs of one target differ, though the target is the same."""
    chosen = _chosen(record.setup.command)
    if record.load is None:
        return chosen
    load = record.load.results
    plan = load.plan
    most = max((max(stage.start, stage.end) for stage in plan.stages), default=0.0)
    parts = [
        plan.model,
        "capacity search" if load.capacity else f"{most:g}/s" if plan.model == "open" else f"{most:g} users",
        f"{plan.client} client" if plan.client != "knouds" else "",
        f"{plan.workers} workers" if plan.workers > 1 else "",
        f"{plan.verified_share:.0%} verified" if plan.verified_share else "",
        chosen,
    ]
    return ", ".join(part for part in parts if part)


def _chosen(command: tuple[str, ...]) -> str:
    """The options of a command that say what is run, and on what sandbox."""
    chosen = []
    words = iter(typed_words(command))
    for word in words:
        option, _, value = word.partition("=")
        if option in _FLAGS:
            chosen.append(option)
        elif option in _CHOICES:
            chosen.append(f"{option} {value or next(words, '')}")
    return " ".join(sorted(chosen))
