"""``--stages``: the course of a load as people write it, ``30s:50/s,2m:200/s,30s:0/s``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import click

from knouds_harness.load.arrivals.shapes import Shape, Stage
from knouds_harness.timespan import Timespan

_PER_S: Final = "/s"
_MOST: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class WrittenStages:
    """What was written.

    Attributes:
        shape: The level over time, from 0 on.
        is_rate: Levels are arrivals per second, and not users.
    """

    shape: Shape
    is_rate: bool

    @property
    def peak(self) -> float:
        """The highest level."""
        return max(stage.end for stage in self.shape.stages)


def parse_stages(text: str) -> WrittenStages:
    """Read stages: how long each lasts, and the level that it reaches in a straight line from the one before.

    Raises:
        ValueError: It is no such text; says what is wrong.
    """
    stages: list[Stage] = []
    units = set()
    for part in text.split(","):
        time, _, level = part.strip().partition(":")
        try:
            duration_s = Timespan().convert(time, None, None)
            end = float(level.removesuffix(_PER_S))
        except (click.BadParameter, ValueError):
            end = math.nan
        if not 0 <= end < math.inf:
            raise ValueError(f"{part.strip()!r} is no stage; write 30s:50/s, or 30s:50 for users")
        units.add(level.endswith(_PER_S))
        stages.append(Stage(duration_s=duration_s, start=stages[-1].end if stages else 0.0, end=end))
    if len(units) > 1:
        raise ValueError("some levels are rates (50/s) and some are users (50); write all in one unit")
    if len(stages) > _MOST:
        raise ValueError(f"more than {_MOST:,} stages")
    return WrittenStages(shape=Shape(tuple(stages)), is_rate=units == {True})


class Stages(click.ParamType[str]):
    """Stages as text, which is passed on as it is."""

    name = "stages"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no course of a load."""
        try:
            parse_stages(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)
