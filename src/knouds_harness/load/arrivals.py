"""When requests arrive in the open model: a schedule that no answer can move."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from knouds_harness.load.shapes import Shape

SPACINGS: Final = ("constant", "poisson")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every arrival of a run; each worker takes its share of the same one.

    Attributes:
        shape: The rate over time, in arrivals per second.
        spacing: ``constant`` (as even as the rate allows) or ``poisson`` (as independent clients come).
        seed: Of Poisson arrivals; the same seed gives the same instants.
    """

    shape: Shape
    spacing: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown spacing."""
        if self.spacing not in SPACINGS:
            raise ValueError(f"{self.spacing} is no spacing of arrivals: {' or '.join(SPACINGS)}")

    def instants(self, *, share: int = 0, of: int = 1) -> Iterator[tuple[int, float]]:
        """The arrivals of one worker.

        Taking every n-th keeps the shares as evenly spaced as the whole, and the whole the same however many
        workers there are.

        Args:
            share: Which worker, from 0.
            of: How many workers.

        Yields:
            The number of the arrival within the whole schedule, from 0, and its seconds after the start.
        """
        for number, area in enumerate(self._areas()):
            if number % of == share:
                instant_s = self.shape.instant(area)
                if instant_s > self.shape.duration_s:
                    return
                yield number, instant_s

    def _areas(self) -> Iterator[float]:
        """Expected arrivals until each arrival: time, stretched so that the rate is one."""
        if self.spacing == "constant":
            yield from map(float, count())
        chance = random.Random(self.seed)
        area = 0.0
        while True:
            area += chance.expovariate(1.0)
            yield area
