"""When requests arrive in the open model: a schedule that no answer can move."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from knouds_harness.load.shapes import Shape

SPACINGS: Final = ("constant", "poisson")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every arrival of a run, the same for all workers.

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

    def instants(self) -> Iterator[tuple[int, float]]:
        """Every arrival.

        Yields:
            Its number, from 0, and its seconds after the start.
        """
        for number, area in enumerate(self._areas()):
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


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which arrivals of a schedule are one worker's.

    Taking every n-th keeps the shares as even as the whole, and the whole the same for any number of workers.

    Attributes:
        from_s: Since which second of the schedule.
        index: Which worker, from 0.
        workers: How many there are.
    """

    from_s: float = 0.0
    index: int = 0
    workers: int = 1


def arrivals_of(shares: Sequence[Share], schedule: Schedule) -> Iterator[float]:
    """The arrivals of one worker.

    Args:
        shares: In order of time; may grow meanwhile, as workers come and go.
        schedule: The whole.

    Yields:
        Seconds after the start.
    """
    for number, instant_s in schedule.instants():
        share = next((each for each in reversed(shares) if each.from_s <= instant_s), None)
        if share and number % share.workers == share.index:
            yield instant_s
