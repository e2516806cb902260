"""When requests arrive in the open model: a schedule that no response can move.

Also parses ``--stages``: levels over time as text, ``ramp=30s:50/s,2m:200/s,30s:0/s``, or a file of them.
"""

import math
import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, count
from pathlib import Path
from typing import Final, Self

import click

from knouds_harness.files import file_text
from knouds_harness.option_declarations import Timespan
from knouds_harness.runs.load_plan import PlannedStage

KINDS: Final = ("constant", "ramp", "steps", "spike", "soak")
_SOAK_RAMP = 0.05
_SPIKE_PART = 0.2
SPACINGS: Final = ("constant", "poisson")
_PER_S: Final = "/s"
_MOST_STAGES: Final = 1_000
_FILE_SUFFIX: Final = ".txt"
_NAME: Final = re.compile(r"(?!stage \d)[^\W\d_][\w .-]{0,39}")
"""Of a stage; those that have none are called by their number."""


@dataclass(frozen=True, kw_only=True)
class Stage(PlannedStage):
    """One straight piece; its duration is above 0, and no level is negative."""

    @property
    def area(self) -> float:
        """Level times seconds: for a rate, how many arrivals the stage holds."""
        return self.duration_s * (self.start + self.end) / 2

    def level(self, at_s: float) -> float:
        return self.start + (self.end - self.start) * at_s / self.duration_s

    def instant(self, area: float) -> float:
        """Return how many seconds after its beginning the stage has reached this area (at most its own)."""
        slope = (self.end - self.start) / self.duration_s
        root = math.sqrt(max(0.0, self.start * self.start + 2 * slope * area))
        # The citardauq form of the quadratic solution: it does not lose digits where the slope is near zero.
        return min(self.duration_s, 2 * area / (self.start + root)) if area else 0.0


@dataclass(frozen=True)
class Shape:
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.total:
            raise ValueError("the shape holds no load at all")

    @classmethod
    def of(
        cls, kind: str, level: float, duration_s: float, *, base: float | None = None, steps: int = 5
    ) -> Self:
        """Make one of ``KINDS``, whose highest level is ``level``; raise ``ValueError`` if that is not one.

        A ramp begins at ``base`` (default 0), and a spike rises from it (default a tenth of ``level``).
        """
        match kind:
            case "constant":
                pieces = [("", 1.0, level, level)]
            case "ramp":
                pieces = [("", 1.0, base or 0.0, level)]
            case "steps":
                heights = [level * number / steps for number in range(1, steps + 1)]
                pieces = [(f"step {at}", 1 / steps, height, height) for at, height in enumerate(heights, 1)]
            case "spike":
                low = level / 10 if base is None else base
                around = (1 - _SPIKE_PART) / 2
                pieces = [
                    ("base", around, low, low),
                    ("spike", _SPIKE_PART, level, level),
                    ("recovery", around, low, low),
                ]
            case "soak":
                pieces = [("ramp", _SOAK_RAMP, 0.0, level), ("hold", 1 - _SOAK_RAMP, level, level)]
            case _:
                raise ValueError(f"{kind} is not a shape; the shapes are {', '.join(KINDS)}")
        return cls(
            tuple(
                Stage(name=name, duration_s=part * duration_s, start=start, end=end)
                for name, part, start, end in pieces
            )
        )

    @cached_property
    def duration_s(self) -> float:
        return self._ends_s[-1]

    @cached_property
    def total(self) -> float:
        """Level times seconds of the whole: for a rate, how many arrivals are expected."""
        return self._areas[-1]

    @property
    def peak(self) -> float:
        return max(max(stage.start, stage.end) for stage in self.stages)

    @property
    def ends_level(self) -> bool:
        """Whether the level stays the same for more than the second half."""
        last = self.stages[-1]
        return last.start == last.end and last.duration_s > self.duration_s / 2

    def level(self, at_s: float) -> float:
        """Return the level so many seconds after the beginning; 0 before and after the shape."""
        if not 0 <= at_s < self.duration_s:
            return 0.0
        index = bisect_right(self._ends_s, at_s)
        return self.stages[index].level(at_s - _before(self._ends_s, index))

    def scaled(self, share: float) -> Self:
        stages = (replace(each, start=each.start * share, end=each.end * share) for each in self.stages)
        return type(self)(tuple(stages))

    def area(self, from_s: float, until_s: float) -> float:
        """Return level times seconds between two instants: for a rate, how many arrivals are expected."""
        return self._area_until(until_s) - self._area_until(from_s)

    def instant(self, area: float) -> float:
        """Return how many seconds the shape takes to reach this area; infinity if it never does."""
        if area >= self.total:
            return math.inf
        index = bisect_right(self._areas, area)
        return _before(self._ends_s, index) + self.stages[index].instant(area - _before(self._areas, index))

    def _area_until(self, at_s: float) -> float:
        at_s = min(max(0.0, at_s), self.duration_s)
        index = min(bisect_right(self._ends_s, at_s), len(self.stages) - 1)
        stage, since_s = self.stages[index], at_s - _before(self._ends_s, index)
        return _before(self._areas, index) + since_s * (stage.start + stage.level(since_s)) / 2

    @cached_property
    def _ends_s(self) -> tuple[float, ...]:
        return tuple(accumulate(stage.duration_s for stage in self.stages))

    @cached_property
    def _areas(self) -> tuple[float, ...]:
        return tuple(accumulate(stage.area for stage in self.stages))


def _before(sums: Sequence[float], index: int) -> float:
    return sums[index - 1] if index else 0.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """One worker's share of the arrivals; the index of the first worker is 0."""

    index: int = 0
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class ArrivalSchedule:
    """All arrivals of a run.

    With ``constant`` spacing, each of n workers takes every nth arrival, so the whole is the same for any n.
    With ``poisson``, each worker draws its own from the seed, which together are Poisson arrivals again.
    """

    shape: Shape
    spacing: str = "constant"
    seed: int | str = 0

    def instants(self, share: Share = Share()) -> Iterator[float]:
        """Yield the arrivals of a share (by default all), in seconds after the start."""
        for area in self._areas(share):
            instant_s = self.shape.instant(area)
            if instant_s > self.shape.duration_s:
                return
            yield instant_s

    def _areas(self, share: Share) -> Iterator[float]:
        """Yield each arrival in stretched time, in which the rate is one: the area of the shape before it."""
        if self.spacing == "constant":
            yield from map(float, count(share.index, share.workers))
        area = 0.0
        chance = random.Random(f"{self.seed} {share.index} {share.workers}")
        while True:
            area += chance.expovariate(1.0) * share.workers
            yield area


def parse_stages(text: str) -> tuple[Shape, bool]:
    """Parse stages: the name, how long each lasts, and the level that it reaches in a straight line, from 0.

    Return them, and whether levels are arrivals per second; if not, they are users.
    """
    stages: list[Stage] = []
    units = set()
    for part in text.split(","):
        name, duration_s, end, is_rate = _stage(part.strip())
        if name and any(each.name == name for each in stages):
            raise ValueError(f"two stages are called {name}; give each a name of its own, or none")
        units.add(is_rate)
        start = stages[-1].end if stages else 0.0
        stages.append(Stage(name=name, duration_s=duration_s, start=start, end=end))
    if len(units) > 1:
        raise ValueError("some levels are rates (50/s) and some are users (50); write all in one unit")
    if len(stages) > _MOST_STAGES:
        raise ValueError(f"more than {_MOST_STAGES:,} stages")
    return Shape(tuple(stages)), units == {True}


def _stage(part: str) -> tuple[str, float, float, bool]:
    """Parse a stage: its name, length in seconds, the level that it reaches, and whether that is a rate."""
    name, is_named, written = part.rpartition("=")
    if is_named and not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a name of a stage; write 40 letters, digits, spaces, _, - and . at most, begin "
            "with a letter, and leave stage 1 and so on to numbers"
        )
    time, _, level = written.partition(":")
    try:
        duration_s = Timespan().convert(time, None, None)
        end = float(level.removesuffix(_PER_S))
    except (click.BadParameter, ValueError):
        end = math.nan
    if not 0 <= end < math.inf:
        raise ValueError(f"{part!r} is not a stage; write 30s:50/s, or 30s:50 for users")
    return name, duration_s, end, level.endswith(_PER_S)


def stages_of_file(path: Path) -> str:
    """Read the stages of a file, one or more on each line, as text; what follows ``#`` is a comment."""
    try:
        lines = file_text(path).splitlines()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    stages = [text for line in lines if (text := line.partition("#")[0].strip().strip(","))]
    if not stages:
        raise ValueError("has no stages; write one on each line: 30s:50/s")
    return ",".join(stages)


class Stages(click.ParamType[str]):
    """Stages, or a file of them, checked and passed on as text."""

    name = "stages"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        given = str(value)
        is_file = given.endswith(_FILE_SUFFIX)
        try:
            text = stages_of_file(Path(given)) if is_file else given
            parse_stages(text)
        except ValueError as error:
            self.fail(f"{given}: {error}" if is_file else str(error), param, ctx)
        return text
