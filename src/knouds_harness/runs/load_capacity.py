"""What a capacity search found, as ``load.json`` has it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CapacityPoint:
    """One short run at one rate, of a capacity search.

    Attributes:
        p95_ms: None in older records.
        is_kept: All objectives were met, and the generator kept up.
        is_generator_limit: The generator did not keep up, so the point says nothing of the target.
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
        highest_per_s: The highest rate that kept the objectives; None if no rate did.
        kept_share_at_least: At least this share of points at that rate keeps them, with 95 % confidence.
        is_generator_limit: It was the generator that did not keep up at ``lowest_failing_per_s``.
        knee_per_s: Rate from which response times rise faster than throughput; None if none was found.
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
