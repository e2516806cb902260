"""The verdict on a load run in one line, the same words in every report."""

from __future__ import annotations

from collections import Counter
from typing import Final

from knouds_harness.reporting.headline import Headline
from knouds_harness.reporting.load.capacity import describe_capacity
from knouds_harness.runs.load_results import Invariant, JudgedObjective, LoadResults
from knouds_harness.runs.record import RunRecord
from knouds_harness.runs.verdicts import Outcome

INVARIANT_STATES: Final = ("broken", "excused", "kept", "untested")


def load_headline(record: RunRecord, load: LoadResults) -> Headline:
    """Sum a load run up: first whether its figures can be believed, then what they say."""
    if load.capacity:
        tone, title, detail = describe_capacity(load.capacity)
        return Headline(tone=tone, title=title, detail=detail)
    figures = _figures(load)
    if record.outcome is Outcome.STOPPED:
        reason = (record.note or "no reason was kept").splitlines()[0]
        return Headline(tone="warn", title="Stopped early", detail=f"{reason.rstrip('.')}. {figures}")
    if record.outcome is Outcome.INTERRUPTED:
        return Headline(tone="warn", title="Interrupted", detail=figures)
    if not load.validity.is_valid and not any(each.broken for each in load.invariants):
        return Headline(tone="warn", title="Not a valid measurement", detail=load.validity.reasons[0])
    return _verdict(load, figures)


def _verdict(load: LoadResults, figures: str) -> Headline:
    broken = [each.fact for each in load.invariants if each.broken]
    missed = [each for each in load.objectives if not each.is_met]
    if broken:
        detail = f"{', '.join(broken)}. {figures}"
        return Headline(tone="bad", title="Contract broken under load", detail=detail)
    if missed:
        detail = f"{describe(missed[0])}{_and_more(len(missed) - 1)}. {figures}"
        return Headline(tone="bad", title="Objectives missed", detail=detail)
    if not load.objectives:
        return Headline(tone="good", title="Measured", detail=f"No objectives were set. {figures}")
    return Headline(tone="good", title="Objectives met", detail=figures)


def describe_broken(invariant: Invariant) -> str:
    """A broken promise: its fact, how often, and one of the times."""
    times = f"{invariant.broken:,} of {invariant.seen:,} times"
    return f"{invariant.fact} was broken {times}. {invariant.says} Such as {invariant.example}"


def count_states(load: LoadResults) -> str:
    """How many promises were kept, broken and so on."""
    counts = Counter(each.state for each in load.invariants)
    return ", ".join(f"{counts[state]} {state}" for state in INVARIANT_STATES if counts[state])


def describe(objective: JudgedObjective) -> str:
    """An objective and what came of it, in words."""
    kind = "at least" if objective.measure == "requests_per_s" else "at most"
    observed = "not measured" if objective.observed is None else value(objective.measure, objective.observed)
    return (
        f"{objective.operation} {name(objective.measure)} {observed}, "
        f"{kind} {value(objective.measure, objective.bound)}"
    )


def name(measure: str) -> str:
    """A measure without its unit: ``p99_ms`` is ``p99``."""
    return measure.removesuffix("_ms").removesuffix("_per_s").replace("_", " ")


def value(measure: str, number: float) -> str:
    """A figure of a measure with its unit."""
    if measure.endswith("_rate"):
        return f"{number:.2%}"
    return f"{number:,.1f}/s" if measure.endswith("_per_s") else milliseconds(number)


def milliseconds(number: float) -> str:
    """A time, with as many digits as tell something."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:,.{digits}f} ms"


def _and_more(count: int) -> str:
    return f", and {count} more" if count else ""


def _figures(load: LoadResults) -> str:
    requests = sum(each.requests for each in load.operations)
    bad = sum(each.outcomes["failed"] + each.outcomes["wrong"] for each in load.operations)
    throttled = sum(each.outcomes["throttled"] for each in load.operations)
    asked = load.validity.asked_per_s
    achieved = f"{load.validity.achieved_per_s:,.1f}"
    rate = f", {achieved} arrivals/s of {asked:,.1f} asked for" if asked else f" at {achieved}/s"
    errors = f"{bad / requests:.2%} errors" if requests else "no errors"
    return f"{requests:,} requests{rate}, {errors}{f', {throttled:,} throttled' if throttled else ''}."
