"""When requests arrive in the open model: a schedule that no answer can move."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from knouds_harness.load.shapes import Shape

SPACINGS: Final = ("constant", "poisson")


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which arrivals of a schedule are one worker's.

    Attributes:
        from_s: Since which second of the schedule.
        index: Which worker, from 0.
        workers: How many there are.
    """

    from_s: float = 0.0
    index: int = 0
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every arrival of a run.

    What a worker's share is takes as long to say as it has arrivals, however many others there are.

    Attributes:
        shape: The rate over time, in arrivals per second.
        spacing: ``constant`` (as even as the rate allows; of so many workers each takes every so manieth,
            and the whole is the same for any number of them) or ``poisson`` (as independent clients come;
            each worker draws its own, which together are Poisson arrivals again).
        seed: Of Poisson arrivals; the same seed and shares give the same instants.
    """

    shape: Shape
    spacing: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown spacing."""
        if self.spacing not in SPACINGS:
            raise ValueError(f"{self.spacing} is no spacing of arrivals: {' or '.join(SPACINGS)}")

    def instants(self, share: Share = Share()) -> Iterator[float]:
        """The arrivals of a share, all unless told otherwise.

        Yields:
            Seconds after the start.
        """
        for area in self._areas(share):
            instant_s = self.shape.instant(area)
            if instant_s > self.shape.duration_s:
                return
            if instant_s >= share.from_s:
                yield instant_s

    def _areas(self, share: Share) -> Iterator[float]:
        """Expected arrivals until each arrival: time, stretched so that the rate is one."""
        area = self.shape.area(0.0, share.from_s)
        if self.spacing == "constant":
            first = max(0, math.floor(area) - 1)  # rounding must not lose one; what is before is left out
            first += (share.index - first) % share.workers
            yield from map(float, count(first, share.workers))
        chance = random.Random(f"{self.seed} {share.from_s} {share.index} {share.workers}")
        while True:
            area += chance.expovariate(1.0) * share.workers
            yield area


class Portion:
    """The arrivals of one worker, whose share changes as others come and go."""

    def __init__(self, schedule: Schedule) -> None:
        """Begin without a share.

        Args:
            schedule: The whole.
        """
        self._schedule = schedule
        self._shares: list[Share] = []
        self._at = -1
        self._served_until_s = -math.inf
        self._given_up = 0

    @property
    def shares(self) -> Sequence[Share]:
        """All that it was given, in order of time."""
        return self._shares

    def give(self, share: Share) -> None:
        """Let a share follow the one before it."""
        self._shares.append(share)

    def give_up(self) -> None:
        """Nothing of the present shares is its own any more."""
        self._given_up = len(self._shares)

    @property
    def is_given_up(self) -> bool:
        """Whether the latest arrival was of a share that was given up."""
        return self._at < self._given_up

    def is_moved(self, instant_s: float) -> bool:
        """Whether the latest arrival, at this instant, falls under a share that was given meanwhile."""
        return self._at + 1 < len(self._shares) and instant_s >= self._shares[self._at + 1].from_s

    def instants(self) -> Iterator[float]:
        """Its arrivals under the shares that it has; ask again once it has more.

        Yields:
            Seconds after the start.
        """
        while self._at + 1 < len(self._shares):
            self._at += 1
            for instant_s in self._schedule.instants(self._shares[self._at]):
                if self.is_moved(instant_s):
                    break
                if instant_s <= self._served_until_s:
                    continue  # it heard of this share when it had served beyond its beginning already
                yield instant_s
                if not self.is_moved(instant_s) and not self.is_given_up:
                    self._served_until_s = instant_s
