"""What a search for the highest rate found: a part of ``load.json``."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CapacityPoint:
    """One short run at one rate, of a capacity search.

    Attributes:
        mean_ms: Mean response time of all that was kept; so are the percentiles.
        p95_ms: None in older records.
        is_kept: All objectives were met, and the generator kept up.
        is_generator_limit: Whether the generator did not keep up, so that nothing is said of the target.
    """

    asked_per_s: float
    achieved_per_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    error_rate: float
    is_kept: bool
    p95_ms: float | None = None
    reason: str = ""
    is_generator_limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a capacity search found.

    Attributes:
        highest_per_s: The highest rate that kept the objectives; None for none.
        kept_points: Points that kept them at this rate.
        tried_points: Points that were tried at this rate.
        kept_share_at_least: Share of all such points that at least keeps them, with 95 % confidence.
        lowest_failing_per_s: The lowest rate that did not; None where none failed.
        is_generator_limit: At that rate it was the generator that did not keep up: the target carries more.
        knee_per_s: Rate from which response times rise faster than throughput; None where they do not.
    """

    highest_per_s: float | None
    kept_points: int = 0
    tried_points: int = 0
    kept_share_at_least: float = 0.0
    lowest_failing_per_s: float | None
    is_generator_limit: bool = False
    knee_per_s: float | None
    points: tuple[CapacityPoint, ...]
    limit: str = ""
