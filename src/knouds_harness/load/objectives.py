"""Objectives: what a scenario's figures have to be, from ``load/objectives.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from knouds_harness.errors import UsageError
from knouds_harness.runs.load_results import JudgedObjective, OperationLoad, Times

_PERCENTILE: Final = re.compile(r"(service_)?p(50|90|99|99\.9|99\.99)_ms")
_OTHERS: Final = ("mean_ms", "max_ms", "error_rate", "throttled_rate", "requests_per_s")
_NO_MEASURES: Final = ("fact", "tolerance")
"""Besides bounds: the promise behind them, and how much may change between runs, which comparing reads."""
EVERY_OPERATION: Final = "*"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One figure and its bound.

    Attributes:
        operation: As in statistics, or ``*`` for each that was sent.
        measure: ``p99_ms`` and other percentiles of response time, the same of service time with ``service_``
            before it; ``mean_ms``, ``max_ms``; ``error_rate`` and ``throttled_rate``, from 0 to 1;
            ``requests_per_s``.
        bound: At most this; for ``requests_per_s`` at least.
        fact: The documented promise behind it, or empty.
    """

    operation: str
    measure: str
    bound: float
    fact: str = ""


def load_objectives(path: Path, scenario: str) -> tuple[Objective, ...]:
    """The objectives of one scenario.

    Args:
        path: A TOML file with a table for each scenario, in it one for each operation, in it a bound for each
            measure, and perhaps the ``fact`` that promises it.
        scenario: Which table to read; one that is not there has no objectives.

    Raises:
        UsageError: The file cannot be read, or something in it is no objective; says everything at once.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no TOML: {error}") from None
    problems: list[str] = []
    found = {name: list(_objectives(name, table, problems)) for name, table in tables.items()}
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return tuple(found.get(scenario, ()))


def _objectives(scenario: str, table: Any, problems: list[str]) -> Iterator[Objective]:  # noqa: ANN401 - TOML
    if not isinstance(table, Mapping) or not all(isinstance(each, Mapping) for each in table.values()):
        problems.append(f'{scenario}: is no scenario with operations\n  Write [{scenario}."operationId"].')
        return
    for operation, measures in table.items():
        fact = measures.get("fact", "")
        for measure, bound in measures.items():
            where = f'{scenario}."{operation}".{measure}'
            if measure in _NO_MEASURES:
                continue
            if not (_PERCENTILE.fullmatch(measure) or measure in _OTHERS):
                problems.append(
                    f"{where}: is no measure\n"
                    f'  Use p50_ms, p90_ms, p99_ms, "p99.9_ms", service_p99_ms or {", ".join(_OTHERS)}.'
                )
            elif isinstance(bound, bool) or not isinstance(bound, int | float) or not bound >= 0:
                problems.append(f"{where}: {bound!r} is no bound\n  Write a number that is not negative.")
            else:
                yield Objective(operation=operation, measure=measure, bound=bound, fact=str(fact))


def parse_bounds(texts: Iterable[str]) -> tuple[Objective, ...]:
    """Objectives for every operation, from ``measure=bound``.

    Raises:
        UsageError: One of them is no measure, or has no bound.
    """
    problems: list[str] = []
    found: list[Objective] = []
    for text in texts:
        measure, _, bound = text.partition("=")
        try:
            number: object = float(bound)
        except ValueError:
            number = bound
        found += _objectives("", {EVERY_OPERATION: {measure: number}}, problems)
    if problems:
        raise UsageError("\n".join(problem.removeprefix('."*".') for problem in problems))
    return tuple(found)


def judge_objectives(
    objectives: Iterable[Objective], operations: Sequence[OperationLoad]
) -> tuple[JudgedObjective, ...]:
    """Hold objectives against what was measured. An operation that was never sent misses its objective."""
    return tuple(
        _judged(objective, name, measured)
        for objective in objectives
        for name, measured in _meant_by(objective, operations)
    )


def _meant_by(
    objective: Objective, operations: Sequence[OperationLoad]
) -> list[tuple[str, OperationLoad | None]]:
    if objective.operation == EVERY_OPERATION:
        return [(each.operation, each) for each in operations]
    named = [each for each in operations if each.operation == objective.operation]
    return [(objective.operation, named[0] if named else None)]


def _judged(objective: Objective, operation: str, measured: OperationLoad | None) -> JudgedObjective:
    observed = _observed(objective.measure, measured) if measured else None
    if observed is None:
        is_met = False
    elif objective.measure == "requests_per_s":
        is_met = observed >= objective.bound
    else:
        is_met = observed <= objective.bound
    return JudgedObjective(
        operation=operation,
        measure=objective.measure,
        bound=objective.bound,
        observed=observed,
        is_met=is_met,
        fact=objective.fact,
    )


def _observed(measure: str, load: OperationLoad) -> float | None:
    match measure:
        case "error_rate":
            return load.error_rate if load.requests else None
        case "throttled_rate":
            return load.outcomes["throttled"] / load.requests if load.requests else None
        case "requests_per_s":
            return load.per_s
    times = load.service if measure.startswith("service_") else load.response
    return _time(measure.removeprefix("service_"), times) if times.count else None


def _time(measure: str, times: Times) -> float:
    match measure:
        case "mean_ms":
            return times.mean_ms
        case "max_ms":
            return times.max_ms
        case _:
            return times.percentiles[measure.removeprefix("p").removesuffix("_ms")]
