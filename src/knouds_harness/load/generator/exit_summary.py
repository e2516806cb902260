"""What a run ends with: its exit code, and what plain Locust does not say at the end."""

from __future__ import annotations

from collections.abc import Iterator

from knouds_harness.errors import ExitCode
from knouds_harness.runs.load_results import LoadResults


def exit_code_of(results: LoadResults, *, was_interrupted: bool) -> ExitCode:
    """What a run that nothing stopped ends with; what is broken counts even where times do not."""
    if was_interrupted:
        return ExitCode.INTERRUPTED
    if results.task_errors or results.never_kept:
        return ExitCode.BREACH
    if any(each.broken for each in results.invariants):  # broken, however late it was asked for
        return ExitCode.BREACH
    if not results.validity.is_valid:
        return ExitCode.INVALID_MEASUREMENT
    return ExitCode.KEPT if all(each.is_met for each in results.objectives) else ExitCode.BREACH


def exit_summary(results: LoadResults) -> Iterator[str]:
    """Lines for a terminal; none where all is well."""
    yield from results.note.splitlines()
    for each in results.never_kept:
        yield f"nothing kept: {each.operation}, of {each.requests} requests"
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for objective in results.objectives:
        if not objective.is_met:
            observed = "not measured" if objective.observed is None else f"{objective.observed:g}"
            figure = f"{objective.operation} {objective.measure} {observed}"
            yield f"objective missed: {figure}, bound {objective.bound:g}"
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
