"""Compares two sides of load runs measure by measure, and draws the verdict."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Final

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.measures.objectives import Objective, judge_objectives, load_objectives, with_stated
from knouds_harness.reporting.comparison.change import ChangeVerdict, FigureChange, RunFigure, change_between
from knouds_harness.reporting.comparison.load_figures import ALL, LoadFigures
from knouds_harness.reporting.comparison.tolerances import (
    ERRORS,
    MEASURES,
    RATE,
    RATES,
    SERVICE_TIMES,
    SHARES,
    THROTTLED,
    THROUGHPUT,
    Tolerances,
)
from knouds_harness.runs.load_results import JudgedObjective, stage_of
from knouds_harness.runs.operation_load import PERCENTILES

CONFIDENCE: Final = 0.99
"""Confidence that no gate of the whole comparison is wrong by chance, either way."""
EXPECTED_NOISE: Final = 0.03
"""How far times differ from run to run, if the runs themselves do not show it (benchmarks/README.md)."""


_PLAINLY_MORE: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measure of one operation.

    Attributes:
        baseline: Mean over the runs of that side, the geometric one except for shares; None without figures.
        change: None if it cannot be told; ``verdict`` is then *no evidence*.
    """

    operation: str
    measure: str
    baseline: float | None
    candidate: float | None
    change: FigureChange | None
    verdict: ChangeVerdict
    tolerance: float
    is_gate: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadComparison:
    """The comparison of two sides of load runs.

    Attributes:
        rows: By operation, ``all`` last, and measure.
        newly_broken: Facts broken under load in a run of the candidate, and in none of the baseline.
        missed: Objectives that most of the candidate's runs missed, with the figures of the median run.
        left_out: Runs without any figure that can be compared, and why.
    """

    scenario: str
    rows: tuple[MeasureRow, ...]
    newly_broken: tuple[str, ...]
    missed: tuple[JudgedObjective, ...]
    confidence: float
    baseline: tuple[LoadFigures, ...]
    candidate: tuple[LoadFigures, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def counters(self) -> Mapping[str, tuple[float, float]]:
        """What the scenario counted per second, on average over the runs of each side, by name."""
        runs = (*self.baseline, *self.candidate) if self.is_valid else ()
        names = sorted({name for run in runs for name in run.counters})
        return {name: (_mean_count(name, self.baseline), _mean_count(name, self.candidate)) for name in names}

    @property
    def is_valid(self) -> bool:
        return bool(self.baseline and self.candidate)

    @property
    def regressions(self) -> tuple[MeasureRow, ...]:
        return tuple(row for row in self.rows if row.is_gate and row.verdict is ChangeVerdict.WORSE)

    @property
    def verdict(self) -> ChangeVerdict:
        gates = {row.verdict for row in self.rows if row.is_gate}
        if ChangeVerdict.WORSE in gates:
            return ChangeVerdict.WORSE
        if ChangeVerdict.BETTER in gates:
            return ChangeVerdict.BETTER
        return ChangeVerdict.SAME if gates == {ChangeVerdict.SAME} else ChangeVerdict.NO_EVIDENCE

    @property
    def exit_code(self) -> ExitCode:
        if self.newly_broken:  # a late generator does not excuse a broken response
            return ExitCode.BREACH
        if not self.is_valid:
            return ExitCode.INVALID_MEASUREMENT
        return ExitCode.BREACH if self.regressions or self.missed else ExitCode.KEPT


def compare_loads(
    baseline: Sequence[LoadFigures],
    candidate: Sequence[LoadFigures],
    *,
    tolerances: Tolerances,
    objectives: Path | None,
    added: Sequence[Objective] = (),
) -> LoadComparison:
    """Compare load runs of one scenario and model; raise ``UsageError`` if they are not."""
    _check_alike(baseline, candidate)
    valid_baseline = [each for each in baseline if each.figures]
    valid_candidate = [each for each in candidate if each.figures]
    scenario = candidate[0].plan.scenario
    is_open = candidate[0].plan.model == "open"
    wanted = list(_wanted(valid_baseline, valid_candidate, is_open=is_open))
    gates = [tolerances.is_gate(*each, is_open_model=is_open) and each[0] != ALL for each in wanted]
    confidence = 1 - (1 - CONFIDENCE) / max(1, sum(gates))
    rows = [
        _row(
            operation,
            measure,
            valid_baseline,
            valid_candidate,
            tolerance=tolerances.of(operation, measure),
            is_gate=is_gate,
            expected_noise=0.0 if measure in SHARES or (measure == RATE and is_open) else EXPECTED_NOISE,
            confidence=confidence,
        )
        for (operation, measure), is_gate in zip(wanted, gates, strict=True)
    ]
    return LoadComparison(
        scenario=scenario,
        rows=tuple(rows),
        newly_broken=tuple(sorted(_broken(candidate) - _broken(baseline))),
        missed=tuple(_missed(valid_candidate, objectives, scenario, added)),
        confidence=confidence,
        baseline=tuple(valid_baseline),
        candidate=tuple(valid_candidate),
        left_out=tuple(why_doubted(each) for each in (*baseline, *candidate) if not each.figures),
        notes=tuple(_notes(valid_baseline, valid_candidate)),
    )


def why_doubted(run: LoadFigures) -> str:
    return f"{run.run}: {run.doubts[0] if run.doubts else 'Nothing was measured.'}"


def _check_alike(baseline: Sequence[LoadFigures], candidate: Sequence[LoadFigures]) -> None:
    first = baseline[0]
    for each in (*baseline, *candidate):
        kinds = [f"{run.plan.workload} in the {run.plan.model} model" for run in (first, each)]
        if kinds[0] != kinds[1]:
            raise UsageError(
                f"{first.run} ran {kinds[0]} and {each.run} ran {kinds[1]}: these do not compare\n"
                "  Name runs of one scenario or mix that were all started with --rate, or all with --users."
            )


def _wanted(
    baseline: Sequence[LoadFigures], candidate: Sequence[LoadFigures], *, is_open: bool
) -> Iterator[tuple[str, str]]:
    """Yield operation and measure of each row, including what only one side sent."""
    if not (baseline and candidate):
        return
    names = {name for each in (*baseline, *candidate) for name in each.figures}
    is_behind = any(each.total and each.total.lags for each in (*baseline, *candidate))
    for name in sorted(names, key=lambda each: (each == ALL, each)):
        for measure in MEASURES:
            if measure in SERVICE_TIMES and not is_open:  # in the closed model they are the response times
                continue
            of_runs = [run.figures.get(name, {}) for run in (*baseline, *candidate)]
            if measure not in PERCENTILES and not any(ERRORS in each for each in of_runs):
                continue  # a time of the scenario's own
            figures = (each.get(THROTTLED) for each in of_runs)
            is_seen = measure != THROTTLED or any(each.value for each in figures if each)
            if is_seen and (measure != THROUGHPUT or is_behind):
                yield name, measure


def _row(
    operation: str,
    measure: str,
    baseline: Sequence[LoadFigures],
    candidate: Sequence[LoadFigures],
    *,
    tolerance: float,
    is_gate: bool,
    expected_noise: float,
    confidence: float,
) -> MeasureRow:
    sides = [
        [found for run in side if (found := run.figures.get(operation, {}).get(measure))]
        for side in (baseline, candidate)
    ]
    means = [_mean(side, is_share=measure in SHARES) for side in sides]
    is_more_worse = measure not in RATES
    change, verdict, reason = None, ChangeVerdict.NO_EVIDENCE, ""
    if all(sides):
        change = change_between(
            *sides,
            is_share=measure in SHARES,
            expected_noise=expected_noise,
            confidence=confidence,
            is_more_worse=is_more_worse,
        )
        verdict = change.verdict(tolerance=tolerance, is_more_worse=is_more_worse)
        is_open = measure == ERRORS and verdict is ChangeVerdict.NO_EVIDENCE
        if is_open and _fail_more(*sides, tolerance=tolerance):
            verdict = ChangeVerdict.WORSE
    else:
        is_absent = any(all(operation not in run.figures for run in side) for side in (baseline, candidate))
        is_unsent = measure == RATE and any(run.doubts for run in (*baseline, *candidate))
        few = "less was sent than asked for" if is_unsent else "too few requests"
        reason = "only one side sent it" if is_absent else few
    return MeasureRow(
        operation=operation,
        measure=measure,
        baseline=means[0],
        candidate=means[1],
        change=change,
        verdict=verdict,
        tolerance=tolerance,
        is_gate=is_gate,
        reason=reason,
    )


def _fail_more(baseline: Sequence[RunFigure], candidate: Sequence[RunFigure], *, tolerance: float) -> bool:
    """Whether each run of the candidate has plainly more errors than any of the baseline.

    Blocks of a run with an outage differ so much that their interval shows nothing.
    """
    most, least = max(each.value for each in baseline), min(each.value for each in candidate)
    return least - most > max(tolerance, _PLAINLY_MORE)


def _mean(figures: Sequence[RunFigure], *, is_share: bool) -> float | None:
    if not figures:
        return None
    if is_share:
        return fmean(each.value for each in figures)
    return math.exp(fmean(math.log(each.value) for each in figures))


def _mean_count(name: str, runs: Sequence[LoadFigures]) -> float:
    return fmean(run.counters.get(name, 0.0) for run in runs)


def _broken(runs: Sequence[LoadFigures]) -> set[str]:
    return {fact for each in runs for fact in each.broken_facts}


def _missed(
    candidate: Sequence[LoadFigures], objectives: Path | None, scenario: str, added: Sequence[Objective]
) -> Iterator[JudgedObjective]:
    if not candidate:
        return
    given = with_stated((*added, *(load_objectives(objectives, scenario) if objectives else ())))
    stages = {each.label(number): number for number, each in enumerate(candidate[0].plan.stages, 1)}
    wanted = [each for each in given if stage_of(each.operation, stages)[0] is None]  # load judges the others
    judged = [judge_objectives(wanted, each.measured) for each in candidate]
    every = {(each.operation, each.measure, each.bound) for run in judged for each in run}
    for kind in sorted(every):
        mine = [each for run in judged for each in run if (each.operation, each.measure, each.bound) == kind]
        missed = [each for each in mine if not each.is_met]
        if len(missed) * 2 > len(candidate):
            yield sorted(missed, key=lambda each: each.observed or 0)[len(missed) // 2]


def _notes(baseline: Sequence[LoadFigures], candidate: Sequence[LoadFigures]) -> Iterator[str]:
    runs = (*baseline, *candidate)
    if not (baseline and candidate):
        return
    yield from (f"{why_doubted(each)} Its rate is not compared." for each in runs if each.doubts)
    for what, of in _ALIKE.items():
        if any(of(each) != of(runs[0]) for each in runs):
            yield f"Not the same in all runs: {what}. Changes may come from that."
    if not all(each.has_blocks for each in runs):
        yield "A run has no times.hlog: how far its seconds differ from each other is unknown."
    if len(runs) == 2:
        yield (
            "One run per side does not show how far runs differ by themselves: "
            f"{EXPECTED_NOISE:.0%} is assumed. Several runs show it: --repeat."
        )


_ALIKE: Final[Mapping[str, Callable[[LoadFigures], object]]] = {
    "the load over time": lambda run: [replace(each, name="") for each in run.plan.stages],
    "the rates of the scenarios": lambda run: run.plan.rates,
    "the warm-up": lambda run: run.plan.warm_up_s,
    "the number of users": lambda run: run.plan.users,
    "the processes that sent": lambda run: run.plan.workers,
    "the inputs of runs": lambda run: run.plan.inputs,
    "the share of checked answers": lambda run: run.plan.verified_share,
    "the interpreter": lambda run: (run.fingerprint.python, run.fingerprint.build),
    "the machine that sent": lambda run: (run.fingerprint.platform, run.fingerprint.cores),
    "the versions of the generator": lambda run: run.fingerprint.versions,
}
"""What must be the same in all runs for a change to be the target's."""
