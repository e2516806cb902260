"""What the history keeps of a run, so that its folder can be deleted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from knouds_harness.errors import UnknownName
from knouds_harness.measures.objectives import figure_text
from knouds_harness.reporting.check.fact_status import FactStatus, fact_rows, standing_counts
from knouds_harness.reporting.comparison.load_figures import ALL
from knouds_harness.reporting.run_section import chosen_options
from knouds_harness.runs.findings import RunOutcome
from knouds_harness.runs.load_results import LoadResults
from knouds_harness.runs.operation_load import (
    PERCENTS,
    TIME_MEASURES,
    OperationLoad,
    Times,
    percentile_measure,
    time_ms,
)
from knouds_harness.runs.record import RunRecord

_FLAGS: Final = ("--quick", "--strict")
_CHOICES: Final = ("--family", "--operation", "--fact", "--examples", "--fault", "--variant")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured, of a whole run or of each operation.

    Attributes:
        name: Its name on the command line, followed by ``:OPERATION`` for one of an operation.
        noise: How far comparable runs differ anyway: a smaller difference is not a change.
        is_ratio: The noise is a share of the value, not a difference.
    """

    name: str
    says: str
    noise: float
    is_ratio: bool = True


def _times(prefix: str, kind: str) -> Iterator[Measure]:
    yield Measure(name=f"{prefix}mean_ms", says=f"mean {kind} time", noise=0.03)
    for percent in PERCENTS:
        name = prefix + percentile_measure(percent)
        yield Measure(name=name, says=f"{kind} time, percentile {percent}", noise=0.03)
    yield Measure(name=f"{prefix}max_ms", says=f"longest {kind} time", noise=0.03)


MEASURES: Final = {
    each.name: each
    for each in (
        Measure(name="facts_in_breach", says="documented facts that are broken", noise=0.2, is_ratio=False),
        Measure(name="facts_verified", says="facts that were seen to hold", noise=0.2, is_ratio=False),
        Measure(name="exchanges", says="requests sent", noise=0.03),
        Measure(name="duration_s", says="how long the run took", noise=0.03),
        Measure(name="cost_credits", says="what the run cost", noise=0.03),
        Measure(name="capacity_per_s", says="highest rate that kept the objectives", noise=0.03),
        Measure(name="requests_per_s", says="requests that ended per second", noise=0.03),
        Measure(name="error_rate", says="share that failed or was wrong", noise=0.001, is_ratio=False),
        Measure(name="throttled_rate", says="share that was throttled (429)", noise=0.001, is_ratio=False),
        *_times("", "response"),
        *_times("service_", "service"),
    )
}
"""Measures by name, with the noise that ``compare`` expects or tolerates."""


def measure_of(name: str) -> Measure:
    """Return the measure of a full name, such as ``p99_ms:runWorkflow``."""
    return MEASURES[name.partition(":")[0]]


def find_measure(name: str, known: dict[str, int]) -> str:
    if name not in known:
        raise UnknownName("measure", name, known)
    return name


def figures_of(record: RunRecord) -> dict[str, float]:
    figures = {"exchanges": float(record.counts.exchanges), "duration_s": record.duration_s}
    if record.load:
        load = record.load.results
        return figures | {"cost_credits": load.cost_credits} | dict(_figures_of_load(load))
    counts = standing_counts(fact_rows(record))
    return figures | {
        "cost_credits": record.counts.cost_credits,
        "facts_in_breach": float(counts[FactStatus.BREACH]),
        "facts_verified": float(counts[FactStatus.VERIFIED]),
    }


def _figures_of_load(load: LoadResults) -> Iterator[tuple[str, float]]:
    if load.capacity is not None:  # its other figures are those of a single point
        if load.capacity.highest_per_s is not None:
            yield "capacity_per_s", load.capacity.highest_per_s
        return
    for each in load.operations:
        yield from _figures_of_operation(each, each.operation)
        yield from _figures_of_times(each.service, "service_", each.operation)
    yield from _figures_of_operation(load.total, ALL)


def _figures_of_operation(load: OperationLoad, name: str) -> Iterator[tuple[str, float]]:
    if load.requests or name != ALL:
        yield f"requests_per_s:{name}", load.per_s
        yield f"error_rate:{name}", load.error_rate
        yield f"throttled_rate:{name}", load.throttled_rate
    yield from _figures_of_times(load.response, "", name)


def _figures_of_times(times: Times, prefix: str, name: str) -> Iterator[tuple[str, float]]:
    for measure in TIME_MEASURES:
        figure = time_ms(times, measure)
        if figure is not None:
            yield f"{prefix}{measure}:{name}", figure


def measure_text(name: str, number: float) -> str:
    measure = name.partition(":")[0]
    if measure == "duration_s":
        return f"{number:,.1f} s"
    if measure.endswith(("_ms", "_rate", "_per_s")):
        return figure_text(measure, number)
    return f"{number:,.10g}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run."""

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
        """Whether its figures are the target's: it was completed, and its generator kept up."""
        return self.outcome.is_complete and self.is_valid is not False

    @property
    def series(self) -> str:
        """What was run, in words: only runs with the same words are compared."""
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
    """Describe the options that change figures although the target is the same."""
    chosen = chosen_options(record.setup.command, flags=_FLAGS, valued=_CHOICES)
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
        plan.inputs,
        chosen,
    ]
    return ", ".join(part for part in parts if part)
