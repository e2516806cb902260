"""What a scenario's own tasks count and measure, beside requests (k6: custom metrics)."""

from dataclasses import dataclass
from typing import Final

from knouds_harness.runs.operation_load import Amount, Times

COUNT: Final = "count"
TIME: Final = "time"
"""Measures of counters and times; those of requests are others."""


@dataclass(frozen=True, kw_only=True)
class CustomMetric:
    """A counter, or a time that tasks measured, after the warm-up.

    Attributes:
        count: The sum of what was added to the counter; of a time, how often it was measured.
        per_s: The same per second.
        times: None for a counter.
    """

    name: str
    count: Amount
    per_s: Amount
    times: Times | None = None

    @property
    def operation(self) -> str:
        """Its name, where objectives have that of an operation."""
        return self.name
