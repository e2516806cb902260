"""Measures that are compared, and how much of a change in each is tolerated."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from knouds_harness.errors import UsageError
from knouds_harness.measures.objectives import read_tables
from knouds_harness.runs.operation_load import PERCENTILES

RATE, THROUGHPUT, ERRORS, THROTTLED = "requests_per_s", "throughput_per_s", "error_rate", "throttled_rate"
RATES: Final = (RATE, THROUGHPUT)
SHARES: Final = (ERRORS, THROTTLED)
SERVICE_TIMES: Final = tuple(f"service_{measure}" for measure in PERCENTILES)
MEASURES: Final = (*RATES, *SHARES, *PERCENTILES, *SERVICE_TIMES)
ALWAYS_GATES: Final = (ERRORS, "p50_ms", "p99_ms")
EVERY_OPERATION: Final = "*"
TABLE: Final = "tolerance"
"""The name of a table of tolerances within an operation of ``objectives.toml``."""

_DEFAULT: Final = 0.05
_DEFAULT_OF_SHARES: Final = 0.001


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How much of a change is tolerated, by operation (or pattern: the longest match counts) and measure."""

    given: Mapping[tuple[str, str], float]

    def of(self, operation: str, measure: str) -> float:
        """Return the change of a measure that is tolerated, as a share; for shares, as a difference."""
        fitting = [
            (name == operation, len(name), share)
            for (name, named), share in self.given.items()
            if named == measure and fnmatchcase(operation, name)
        ]
        if fitting:
            return max(fitting)[-1]
        return _DEFAULT_OF_SHARES if measure in SHARES else _DEFAULT

    def is_gate(self, operation: str, measure: str, *, is_open_model: bool) -> bool:
        """Whether a worsening fails the comparison.

        That of error rate, p50 and p99 always does, and of each measure with a tolerance of its own. That of
        the rate does in the closed model only: in the open model, the schedule decides the rate.
        """
        is_named = any(named == measure and fnmatchcase(operation, name) for name, named in self.given)
        return is_named or measure in ALWAYS_GATES or (measure == RATE and not is_open_model)


def read_tolerances(path: Path | None, scenario: str, texts: Iterable[str]) -> Tolerances:
    """Read the tolerances of one scenario: from the file of objectives, then from the command line.

    Raises:
        UsageError: A measure or share is unknown or out of range; names all problems.
    """
    problems: list[str] = []
    given: dict[tuple[str, str], float] = {}
    for operation, table in _tables(path, scenario).items():
        for name, text in table.items():
            where = f'{path}: {scenario}."{operation}".{TABLE}.{name}'
            given |= _given(operation, name, text, where, problems)
    for text in texts:
        name, _, share = text.partition("=")
        given |= _given(EVERY_OPERATION, name, share, f"--tolerance {text}", problems)
    if problems:
        raise UsageError("\n".join(problems))
    return Tolerances(given=given)


def _tables(path: Path | None, scenario: str) -> Mapping[str, Mapping[str, Any]]:
    if path is None:
        return {}
    operations = read_tables(path).get(scenario)
    if not isinstance(operations, Mapping):
        return {}
    tables = {name: each.get(TABLE, {}) for name, each in operations.items() if isinstance(each, Mapping)}
    wrong = [name for name, table in tables.items() if not isinstance(table, Mapping)]
    if wrong:
        raise UsageError(
            f'{path}: {scenario}."{wrong[0]}".{TABLE}: is not a table\n'
            f'  Write {TABLE} = {{ p99_ms = "10%" }}.'
        )
    return tables


def _given(
    operation: str, name: str, text: object, where: str, problems: list[str]
) -> dict[tuple[str, str], float]:
    measure = name if name in MEASURES else f"{name}_ms"
    share = _share(text)
    if measure not in MEASURES:
        problems.append(f"{where}: is not a measure that is compared\n  Use one of {', '.join(MEASURES)}.")
    elif share is None:
        problems.append(f'{where}: {text!r} is not a share\n  Write a percentage such as "10%".')
    else:
        return {(operation, measure): share}
    return {}


def _share(text: object) -> float | None:
    words = str(text)
    try:
        number = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        return None
    return number if 0 <= number < 10 and not isinstance(text, bool) else None
