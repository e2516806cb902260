"""What plain Locust does not say at the end of a run, and what its exit code comes from."""

from __future__ import annotations

from collections.abc import Iterator

from knouds_harness.runs.load_results import LoadResults


def last_words(results: LoadResults) -> Iterator[str]:
    """Lines for a terminal; none where all is well."""
    yield from results.note.splitlines()
    for reason in results.validity.reasons:
        yield f"not a valid measurement: {reason}"
    for each in results.objectives:
        if not each.is_met:
            observed = "not measured" if each.observed is None else f"{each.observed:g}"
            yield f"objective missed: {each.operation} {each.measure} {observed}, bound {each.bound:g}"
    for invariant in results.invariants:
        if invariant.broken:
            yield f"promise broken: {invariant.says} {invariant.example}"
