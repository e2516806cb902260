"""What a capacity search found, in words."""

from __future__ import annotations

from knouds_harness.reporting.headline import Tone
from knouds_harness.reporting.load.columns import point_times
from knouds_harness.runs.capacity_results import Capacity, CapacityPoint


def describe_point(point: CapacityPoint) -> str:
    """A point in a line."""
    verdict = "kept" if point.is_kept else "generator" if point.is_generator_limit else "missed"
    reason = f"  {point.reason}" if point.reason else ""
    times = ", ".join(f"{heading.lower()} {time}" for heading, time in point_times(point).items())
    return f"{point.asked_per_s:>9,.5g}/s  {verdict:9}  {times}{reason}"


def describe_capacity(capacity: Capacity) -> tuple[Tone, str, str]:
    """Tone, title and detail of what was found."""
    highest, lowest = capacity.highest_per_s, capacity.lowest_failing_per_s
    at_lowest = [point for point in capacity.points if point.asked_per_s == lowest and point.reason]
    against = at_lowest[-1].reason.rstrip(".") if at_lowest else ""
    ended = f" The search ended before it was through: {capacity.limit}." if capacity.limit else ""
    if highest is None:
        if capacity.is_generator_limit:
            return "warn", "The generator was the limit", f"{against}. Nothing is known of the target."
        if lowest is None:
            return "warn", "Nothing was found", ended.strip()
        return "bad", "No rate kept the objectives", f"{lowest:,.5g}/s did not: {against}.{ended}"
    kept = (
        f"It kept the objectives in {capacity.kept_points} of {capacity.tried_points} points: with 95 % "
        f"confidence at least {100 * capacity.kept_share_at_least:.0f} % of all such points do."
    )
    knee = capacity.knee_per_s
    bend = "" if knee is None else f" From {knee:,.5g}/s on response times rise faster than throughput."
    if lowest is None:
        tone: Tone = "good" if capacity.limit.startswith("no rate above") else "warn"
        return tone, f"Capacity at least {highest:,.5g}/s", f"{kept}{bend}{ended}"
    if capacity.is_generator_limit:
        limit = f"At {lowest:,.5g}/s the generator was the limit, not the target: {against}."
        return "warn", f"Capacity at least {highest:,.5g}/s", f"{limit} {kept}{bend}{ended}"
    tone = "warn" if ended else "good"
    return tone, f"Capacity {highest:,.5g}/s", f"{kept} {lowest:,.5g}/s did not: {against}.{bend}{ended}"
