"""Objectives: bounds on the metrics of a scenario, from ``load/objectives.toml`` and the command line."""

import difflib
import fnmatch
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.files import file_text
from knouds_harness.runs.load_results import JudgedObjective, StageLoad, stage_of
from knouds_harness.runs.operation_load import (
    ALL_OPERATIONS,
    RECORDED_PERCENTS,
    CustomMetric,
    OperationLoad,
    is_total,
    labelled,
    percentile_measure,
    time_ms,
)

_TIMES: Final = ("mean_ms", *map(percentile_measure, RECORDED_PERCENTS), "max_ms")
_COUNTS: Final = ("count", "per_s")
_LEAST: Final = ("requests_per_s", "throughput_per_s")
_OTHERS: Final = ("error_rate", "throttled_rate", *_LEAST, *_COUNTS)
_WRITTEN: Final = re.compile(
    r"(?:(?P<operation>\S.*?)\s+)?(?P<measure>\S+?)\s*(?P<sign><=?|>=?)\s*(?P<number>[\d.eE+-]+)\s*(?P<unit>ms|s|%|/s|)"
)
_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "time": {"": 1, "ms": 1, "s": 1000},
    "share": {"": 1, "%": 0.01},
    "rate": {"": 1, "/s": 1},
    "count": {"": 1},
}
_NO_MEASURES: Final = ("fact", "tolerance")
"""Keys beside bounds: the fact behind them, and how much may change between runs, which ``compare`` reads."""
EVERY_OPERATION: Final = "*"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One metric and its bound.

    Attributes:
        operation: A name in statistics, of a metric of the scenario's own, or ``ALL_OPERATIONS``; with ``*``,
            each operation sent that matches.
        measure: ``mean_ms``, ``p95_ms`` and other percentiles, and ``max_ms`` of response times, of service
            times with ``service_`` before them; ``error_rate`` and ``throttled_rate``, from 0 to 1;
            ``requests_per_s`` that were due and ``throughput_per_s`` that ended; ``count`` and ``per_s`` of a
            counter, a time or requests.
        bound: At most this; ``at_least`` and for requests and throughput at least.
    """

    operation: str
    measure: str
    bound: float
    fact: str = ""
    at_least: bool = False


STATED: Final = (
    Objective(operation="* async", measure="service_max_ms", bound=500, fact="async.submit-under-500-ms"),
)
"""Objectives that the contract states: they hold on every target."""


def with_stated(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Add the objectives that the contract states, but for those of which one has another bound."""
    given = {(each.operation, each.measure) for each in objectives}
    return (*objectives, *(each for each in STATED if (each.operation, each.measure) not in given))


def load_objectives(path: Path, scenario: str) -> tuple[Objective, ...]:
    """Read the objectives of one scenario from TOML tables: scenario, operation, bound of each measure.

    Raises:
        UsageError: The file cannot be read, or something in it is not an objective; names all problems.
    """
    tables = read_tables(path)
    problems: list[str] = []
    found = {name: list(_objectives(name, table, problems)) for name, table in tables.items()}
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return tuple(found.get(scenario, ()))


def read_tables(path: Path) -> Mapping[str, Any]:
    """Read a file of objectives, without checks; returns its tables by scenario.

    Raises:
        UsageError: It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(file_text(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}\n  Name a file of objectives.") from error
    except (ValueError, RecursionError) as error:  # ValueError also of a number of 5,000 digits
        raise UsageError(f"{path}: not TOML: {error}\n  Correct the file at that place.") from None


def _objectives(scenario: str, table: Any, problems: list[str]) -> Iterator[Objective]:  # noqa: ANN401 - TOML
    if not isinstance(table, Mapping) or not all(isinstance(each, Mapping) for each in table.values()):
        problems.append(f'{scenario}: not a scenario with operations\n  Write [{scenario}."operationId"].')
        return
    for operation, measures in table.items():
        fact = str(measures.get("fact", ""))
        for measure, bound in measures.items():
            if measure in _NO_MEASURES:
                continue
            is_written = isinstance(bound, str) and bound.startswith(("<", ">"))
            sign = "" if is_written else "> " if measure in _LEAST else "< "
            try:
                yield replace(_parsed(f"{operation} {measure} {sign}{bound}"), fact=fact)
            except UsageError as error:
                problems.append(f'{scenario}."{operation}".{measure}: {error}')


def parse_objectives(texts: Iterable[str]) -> tuple[Objective, ...]:
    """Parse objectives like ``runWorkflow p95 < 300ms``, or ``error_rate < 1%`` for all together."""
    return tuple(map(_parsed, texts))


def _parsed(text: str) -> Objective:
    found = _WRITTEN.fullmatch(text.strip())
    if not found:
        raise UsageError(
            f'"{text}" is not an objective\n'
            "  Write an operation or none for all together, a measure and a bound: runWorkflow p95 < 300ms"
        )
    operation, written, unit = found["operation"] or "", found["measure"], found["unit"]
    if not operation or operation.endswith(":"):  # of all, or of all in a stage or a scenario
        operation = f"{operation} {ALL_OPERATIONS}".lstrip()
    measure = f"{written}_ms" if f"{written.removeprefix('service_')}_ms" in _TIMES else written
    is_time = measure.removeprefix("service_") in _TIMES
    if not is_time and measure not in _OTHERS:
        names = [each.removesuffix("_ms") for each in (*_TIMES, *_OTHERS)]
        raise UsageError(
            f'"{text}": {written} is not a metric\n'
            f"  Use one of {', '.join(names)}; put service_ before a time for the service time."
        )
    if measure.startswith("service_") and is_total(operation):
        raise UsageError(f'"{text}": service times are kept by operation\n  Name one, or * for each.')
    is_least, is_rate = found["sign"].startswith(">"), measure.endswith("per_s")
    if measure not in _COUNTS and is_least != is_rate:
        raise UsageError(f'"{text}": {written} is bounded with {">" if is_rate else "<"}')
    units = _UNITS["time" if is_time else "rate" if is_rate else "count" if measure == "count" else "share"]
    try:
        bound = float(found["number"]) * units[unit]
    except (ValueError, KeyError):
        bound = math.nan
    if not 0 <= bound < math.inf:
        given = f"{found['number']}{unit}"
        known = " or ".join(filter(None, units))
        in_units = f", in {known}" if known else ""
        raise UsageError(f'"{text}": {given} is not a bound\n  Write a number{in_units}.')
    return Objective(
        operation=operation, measure=measure, bound=bound, at_least=is_least and measure in _COUNTS
    )


def is_least(objective: Objective | JudgedObjective) -> bool:
    return objective.at_least or objective.measure in _LEAST


def describe(objective: JudgedObjective) -> str:
    """Describe an objective and its result, as every report and message does."""
    measure = objective.measure
    kind = "at least" if is_least(objective) else "at most"
    found, bound = observed_text(objective, whole=False), figure_text(measure, objective.bound)
    if objective.observed is not None and not objective.is_met and found == bound:
        found, bound = (
            figure_text(measure, number, is_exact=True) for number in (objective.observed, objective.bound)
        )
    doubt = f"; {objective.doubt}" if objective.doubt else ""
    if objective.nearest:
        doubt += f" (did you mean {' or '.join(objective.nearest)}?)"
    return f"{objective.operation} {short_name(measure)} {found}, {kind} {bound}{doubt}"


def observed_text(objective: JudgedObjective, *, whole: bool = True) -> str:
    """Format the figure of an objective; if it is not that of the whole run, also its time, and the other."""
    if objective.observed is None:
        return "not measured"
    found = figure_text(objective.measure, objective.observed)
    if not objective.ended_run:
        return found
    in_all = objective.observed_in_all if whole else None
    of_all = "" if in_all is None else f" ({figure_text(objective.measure, in_all)} over the whole run)"
    return f"{found} over {objective.over_s} s{of_all}"


def short_name(measure: str) -> str:
    """A measure without its unit: ``p99_ms`` is ``p99``."""
    return measure.removesuffix("_ms").removesuffix("_per_s").replace("_", " ")


def figure_text(measure: str, number: float, *, is_exact: bool = False) -> str:
    if measure.endswith("_rate"):
        return f"{100 * number:g}%" if is_exact else f"{number:.2%}"
    if measure == "count":
        return f"{number:.15g}" if is_exact else f"{number:,.10g}"
    if measure.endswith("per_s"):
        return f"{number:g}/s" if is_exact else f"{number:,.1f}/s"
    return f"{number:g} ms" if is_exact else milliseconds(number)


def milliseconds(number: float | None) -> str:
    """Format a time with as many digits as matter; a dash if it is unknown."""
    return "-" if number is None else f"{number:,.{digits(number)}f} ms"


def digits(number: float) -> int:
    return 0 if number >= 100 else 1 if number >= 10 else 2


def refuse_unknown_operations(
    objectives: Iterable[Objective], known: Collection[str], *, stages: Sequence[str] = ()
) -> None:
    """Raise ``UsageError`` for an objective of an unknown operation; ``stages`` are names, or empty."""
    numbers = {name: number for number, name in enumerate(stages, 1) if name}
    known = [*known, ALL_OPERATIONS]
    for each in objectives:
        _, operation = stage_of(each.operation, numbers)
        label, _, rest = operation.partition(": ")
        if not fnmatch.filter(known, operation):
            is_of_stage = numbers and fnmatch.filter(known, rest)
            unknown = (
                UnknownName("stage", label, numbers)
                if is_of_stage
                else UnknownName("operation", operation, known)
            )
            raise UsageError(f"objective of {each.operation}: {unknown}")


def refuse_unknown_stages(objectives: Iterable[Objective], stages: Sequence[str]) -> None:
    """Raise ``UsageError`` for an objective of a stage that a load with these does not have."""
    numbers, count = {name: number for number, name in enumerate(stages, 1) if name}, len(stages)
    for each in objectives:
        number, _ = stage_of(each.operation, numbers)
        if number is not None and not (count > 1 and 1 <= number <= count):
            has = f"{count} stages" if count > 1 else "no stages"
            raise UsageError(f"objective of {each.operation}: the load has {has}\n  See --stages, --shape.")


def refuse_stages(bounds: Iterable[Objective], stages: Sequence[str]) -> None:
    """Raise ``UsageError`` for a bound of a stage: what ends a run is judged by its last ten seconds."""
    for each in bounds:
        if stage_of(each.operation, dict.fromkeys(stages, 0))[0] is not None:
            raise UsageError(
                f"--abort-on {each.operation}: the last ten seconds are judged, in any stage\n"
                "  Leave the stage out."
            )


def judge_objectives(
    objectives: Iterable[Objective],
    measured: Sequence[OperationLoad | CustomMetric],
    *,
    stages: Sequence[StageLoad] = (),
) -> tuple[JudgedObjective, ...]:
    """Judge objectives by what was measured; what was not measured at all misses its objective.

    One for ``stage 2: getWhoami``, or the name of that stage, is judged by what was due in it.
    """
    numbers, by_number = {each.label: each.number for each in stages}, {each.number: each for each in stages}
    judged: list[JudgedObjective] = []
    for objective in objectives:
        number, operation = stage_of(objective.operation, numbers)
        stage = None if number is None else by_number.get(number)
        if stage:
            meant = replace(objective, operation=labelled(stage.label, operation))
            found = _meant_by(meant, stage.named)
        else:
            found = _meant_by(objective, measured if number is None else ())
        for name, each in found:
            nearest = _nearest(name, measured) if each is None else ()
            judged.append(replace(_judged(objective, name, each), nearest=nearest))
    return tuple(judged)


def _meant_by(
    objective: Objective, measured: Sequence[OperationLoad | CustomMetric]
) -> list[tuple[str, OperationLoad | CustomMetric | None]]:
    """Return what an objective is about; a star stands for operations alone."""
    meant = objective.operation
    fitting = [each for each in measured if fnmatch.fnmatchcase(each.operation, meant)]
    named = [
        each
        for each in fitting
        if each.operation == meant
        or (isinstance(each, OperationLoad) and (not is_total(each.operation) or is_total(meant)))
    ]
    if not named and EVERY_OPERATION not in meant:
        return [(meant, None)]
    return [(each.operation, each) for each in named]


def _nearest(name: str, measured: Sequence[OperationLoad | CustomMetric]) -> tuple[str, ...]:
    """Return the names that are this one with a label before it, or else the one that is most like it."""
    known = [each.operation for each in measured]
    labelled_so = [each for each in known if each.endswith(labelled("", name))]
    return tuple(labelled_so or difflib.get_close_matches(name, known, n=1))


def _judged(
    objective: Objective, operation: str, measured: OperationLoad | CustomMetric | None
) -> JudgedObjective:
    found, bound = observed(objective.measure, measured) if measured else None, objective.bound
    return JudgedObjective(
        operation=operation,
        measure=objective.measure,
        bound=bound,
        observed=found,
        is_met=found is not None and (found >= bound if is_least(objective) else found <= bound),
        fact=objective.fact,
        at_least=objective.at_least,
    )


def observed(measure: str, load: OperationLoad | CustomMetric) -> float | None:
    """Return a measure of an operation or of a metric of one's own; None if it has none."""
    if measure == "per_s":
        return load.per_s
    if isinstance(load, CustomMetric):
        of_times = time_ms(load.times, measure) if load.times else None
        return load.count if measure == "count" else of_times
    match measure:
        case "count":
            return load.requests
        case "error_rate" | "throttled_rate":
            return getattr(load, measure) if load.requests else None
        case "requests_per_s" | "throughput_per_s":
            return load.per_s if measure == "requests_per_s" else load.throughput_per_s
    times = load.service if measure.startswith("service_") else load.response
    return time_ms(times, measure.removeprefix("service_"))
