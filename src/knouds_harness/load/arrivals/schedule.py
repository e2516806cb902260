"""When requests arrive in the open model: a schedule that no answer can move."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from knouds_harness.load.arrivals.shapes import Shape

SPACINGS: Final = ("constant", "poisson")


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which arrivals of a schedule are one worker's.

    Attributes:
        index: Which worker, from 0.
        workers: How many there are.
    """

    index: int = 0
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class ArrivalSchedule:
    """Every arrival of a run.

    What a worker's share is takes as long to say as it has arrivals, however many others there are.

    Attributes:
        shape: The rate over time, in arrivals per second.
        spacing: ``constant`` (as even as the rate allows; each of n workers takes every nth, and
            the whole is the same for any number of them) or ``poisson`` (as independent clients come;
            each worker draws its own, which together are Poisson arrivals again).
        seed: Of Poisson arrivals; the same seed and shares give the same instants.
    """

    shape: Shape
    spacing: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown spacing."""
        if self.spacing not in SPACINGS:
            raise ValueError(f"{self.spacing} is not a spacing of arrivals: {' or '.join(SPACINGS)}")

    def instants(self, share: Share = Share()) -> Iterator[float]:
        """The arrivals of a share, all unless told otherwise.

        Yields:
            Seconds after the start.
        """
        for area in self._areas(share):
            instant_s = self.shape.instant(area)
            if instant_s > self.shape.duration_s:
                return
            yield instant_s

    def _areas(self, share: Share) -> Iterator[float]:
        """Expected arrivals until each arrival: time, stretched so that the rate is one."""
        if self.spacing == "constant":
            yield from map(float, count(share.index, share.workers))
        area = 0.0
        chance = random.Random(f"{self.seed} {share.index} {share.workers}")
        while True:
            area += chance.expovariate(1.0) * share.workers
            yield area
