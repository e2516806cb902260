"""Compares two sides of load runs measure by measure, and draws the verdict."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.measures.objectives import (
    EVERY_OPERATION,
    Objective,
    judge_objectives,
    load_objectives,
    read_tables,
    with_stated,
)
from knouds_harness.reporting.comparison.change import ChangeVerdict, FigureChange, RunFigure, change_between
from knouds_harness.reporting.comparison.load_figures import (
    ALL,
    ERROR_RATE,
    MEASURES,
    RATE,
    RATES,
    SERVICE_TIMES,
    SHARES,
    THROTTLED,
    THROUGHPUT,
    LoadFigures,
)
from knouds_harness.runs.load_results import JudgedObjective, stage_of
from knouds_harness.runs.operation_load import PERCENTILES

CONFIDENCE: Final = 0.99
"""Confidence that no gate of the whole comparison is wrong by chance, either way."""
EXPECTED_NOISE: Final = 0.03
"""How far times differ from run to run, if the runs themselves do not show it (benchmarks/README.md)."""
_PLAINLY_MORE: Final = 0.01
_ALWAYS_GATES: Final = (ERROR_RATE, "p50_ms", "p99_ms")
_TABLE: Final = "tolerance"
"""The name of a table of tolerances within an operation of ``objectives.toml``."""
_TOLERATED: Final = 0.05
_TOLERATED_OF_SHARES: Final = 0.001


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How much of a change is tolerated, by operation (or pattern: the longest match counts) and measure."""

    given: Mapping[tuple[str, str], float]

    def of(self, operation: str, measure: str) -> float:
        """Return the change of a measure that is tolerated, as a share; for shares, as a difference."""
        if fitting := self._fitting(operation, measure):
            return self.given[max(fitting, key=lambda name: (name == operation, len(name))), measure]
        return _TOLERATED_OF_SHARES if measure in SHARES else _TOLERATED

    def is_gate(self, operation: str, measure: str, *, is_open_model: bool) -> bool:
        """Whether a worsening fails the comparison.

        That of error rate, p50 and p99 always does, and of each measure with a tolerance of its own. That of
        the rate does in the closed model only: in the open model, the schedule decides the rate.
        """
        is_rate = measure == RATE and not is_open_model
        return is_rate or measure in _ALWAYS_GATES or bool(self._fitting(operation, measure))

    def _fitting(self, operation: str, measure: str) -> list[str]:
        return [name for name, named in self.given if named == measure and fnmatchcase(operation, name)]


def read_tolerances(path: Path | None, scenario: str, texts: Iterable[str]) -> Tolerances:
    """Read the tolerances of one scenario: from the file of objectives, then from the command line.

    Raises:
        UsageError: A measure or share is unknown or out of range; names all problems.
    """
    written = [
        (operation, name, share, f'{path}: {scenario}."{operation}".{_TABLE}.{name}')
        for operation, table in _tables(path, scenario).items()
        for name, share in table.items()
    ]
    for text in texts:
        name, _, share = text.partition("=")
        written.append((EVERY_OPERATION, name, share, f"--tolerance {text}"))
    problems: list[str] = []
    given: dict[tuple[str, str], float] = {}
    for operation, name, text, where in written:
        measure = name if name in MEASURES else f"{name}_ms"
        tolerated = _share(text)
        if measure not in MEASURES:
            problems.append(
                f"{where}: is not a measure that is compared\n  Use one of {', '.join(MEASURES)}."
            )
        elif tolerated is None:
            problems.append(f'{where}: {text!r} is not a share\n  Write a percentage such as "10%".')
        else:
            given[operation, measure] = tolerated
    if problems:
        raise UsageError("\n".join(problems))
    return Tolerances(given=given)


def _tables(path: Path | None, scenario: str) -> Mapping[str, Mapping[str, Any]]:
    if path is None:
        return {}
    operations = read_tables(path).get(scenario)
    if not isinstance(operations, Mapping):
        return {}
    tables = {name: each.get(_TABLE, {}) for name, each in operations.items() if isinstance(each, Mapping)}
    wrong = [name for name, table in tables.items() if not isinstance(table, Mapping)]
    if wrong:
        raise UsageError(
            f'{path}: {scenario}."{wrong[0]}".{_TABLE}: is not a table\n'
            f'  Write {_TABLE} = {{ p99_ms = "10%" }}.'
        )
    return tables


def _share(text: object) -> float | None:
    words = str(text)
    try:
        number = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        return None
    return number if 0 <= number < 10 and not isinstance(text, bool) else None


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measure of one operation.

    Attributes:
        baseline: Mean over the runs of that side, the geometric one except for shares; None without figures.
        change: None if it cannot be told; ``verdict`` is then *no evidence*.
    """

    operation: str
    measure: str
    tolerance: float
    is_gate: bool
    baseline: float | None = None
    candidate: float | None = None
    change: FigureChange | None = None
    verdict: ChangeVerdict = ChangeVerdict.NO_EVIDENCE
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
    before, after = (tuple(each for each in side if each.figures) for side in (baseline, candidate))
    scenario, is_open = candidate[0].plan.scenario, candidate[0].plan.model == "open"
    rows = [
        MeasureRow(
            operation=operation,
            measure=measure,
            tolerance=tolerances.of(operation, measure),
            is_gate=operation != ALL and tolerances.is_gate(operation, measure, is_open_model=is_open),
        )
        for operation, measure in _wanted(before, after, is_open=is_open)
    ]
    confidence = 1 - (1 - CONFIDENCE) / max(1, sum(row.is_gate for row in rows))
    return LoadComparison(
        scenario=scenario,
        rows=tuple(_compared(row, before, after, confidence=confidence) for row in rows),
        newly_broken=tuple(sorted(_broken(candidate) - _broken(baseline))),
        missed=tuple(_missed(after, objectives, scenario, added)),
        confidence=confidence,
        baseline=before,
        candidate=after,
        left_out=tuple(why_doubted(each) for each in (*baseline, *candidate) if not each.figures),
        notes=tuple(_notes(before, after)),
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
            if measure not in PERCENTILES and not any(ERROR_RATE in each for each in of_runs):
                continue  # a time of the scenario's own
            figures = (each.get(THROTTLED) for each in of_runs)
            is_seen = measure != THROTTLED or any(each.value for each in figures if each)
            if is_seen and (measure != THROUGHPUT or is_behind):
                yield name, measure


def _compared(
    row: MeasureRow, baseline: Sequence[LoadFigures], candidate: Sequence[LoadFigures], *, confidence: float
) -> MeasureRow:
    sides = [
        [found for run in side if (found := run.figures.get(row.operation, {}).get(row.measure))]
        for side in (baseline, candidate)
    ]
    is_share, is_more_worse = row.measure in SHARES, row.measure not in RATES
    before, after = (_mean(side, is_share=is_share) for side in sides)
    row = replace(row, baseline=before, candidate=after)
    if not all(sides):
        is_absent = any(
            all(row.operation not in run.figures for run in side) for side in (baseline, candidate)
        )
        is_unsent = row.measure == RATE and any(run.doubts for run in (*baseline, *candidate))
        few = "less was sent than asked for" if is_unsent else "too few requests"
        return replace(row, reason="only one side sent it" if is_absent else few)
    is_planned = row.measure == RATE and candidate[0].plan.model == "open"
    change = change_between(
        *sides,
        is_share=is_share,
        expected_noise=0.0 if is_share or is_planned else EXPECTED_NOISE,
        confidence=confidence,
        is_more_worse=is_more_worse,
    )
    verdict = change.verdict(tolerance=row.tolerance, is_more_worse=is_more_worse)
    is_open = row.measure == ERROR_RATE and verdict is ChangeVerdict.NO_EVIDENCE
    if is_open and _fail_more(*sides, tolerance=row.tolerance):
        verdict = ChangeVerdict.WORSE
    return replace(row, change=change, verdict=verdict)


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
