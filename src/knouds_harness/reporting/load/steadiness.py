"""Since when a run was steady, in words."""

from __future__ import annotations

from knouds_harness.runs.load_results import LoadResults


def describe_steadiness(load: LoadResults) -> str:
    """A sentence; empty where nothing was judged."""
    if load.is_steady is None:
        return ""
    if load.steady_from_s is None:
        return "Throughput or times did not become steady: the figures are those of a change, not of a state."
    if load.steady_from_s <= load.plan.warm_up_s:
        return f"Steady from second {load.steady_from_s:g} on."
    return (
        f"Steady from second {load.steady_from_s:g} on, and the figures begin at {load.plan.warm_up_s:g}: "
        f"--warm-up {load.steady_from_s:g} would leave out what differs."
    )
