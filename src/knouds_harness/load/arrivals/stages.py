"""``--stages``: levels over time as people write them, ``30s:50/s,2m:200/s,30s:0/s``, or a file of such."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from knouds_harness.file_content import file_text
from knouds_harness.load.arrivals.schedule import Shape, Stage
from knouds_harness.timespan import Timespan

_PER_S: Final = "/s"
_MOST: Final = 1_000
_FILE_SUFFIX: Final = ".txt"
_MOST_BYTES: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class WrittenStages:
    """What was written: levels from 0 on, of arrivals per second if ``is_rate``, else of users."""

    shape: Shape
    is_rate: bool

    @property
    def peak(self) -> float:
        return max(stage.end for stage in self.shape.stages)


def parse_stages(text: str) -> WrittenStages:
    """Read stages: how long each lasts, and the level that it reaches in a straight line."""
    stages: list[Stage] = []
    units = set()
    for part in text.split(","):
        duration_s, end, is_rate = _stage(part.strip())
        units.add(is_rate)
        stages.append(Stage(duration_s=duration_s, start=stages[-1].end if stages else 0.0, end=end))
    if len(units) > 1:
        raise ValueError("some levels are rates (50/s) and some are users (50); write all in one unit")
    if len(stages) > _MOST:
        raise ValueError(f"more than {_MOST:,} stages")
    return WrittenStages(shape=Shape(tuple(stages)), is_rate=units == {True})


def _stage(part: str) -> tuple[float, float, bool]:
    """How long a stage lasts, in seconds, the level that it reaches, and whether that is a rate."""
    time, _, level = part.partition(":")
    try:
        duration_s = Timespan().convert(time, None, None)
        end = float(level.removesuffix(_PER_S))
    except (click.BadParameter, ValueError):
        end = math.nan
    if not 0 <= end < math.inf:
        raise ValueError(f"{part!r} is not a stage; write 30s:50/s, or 30s:50 for users")
    return duration_s, end, level.endswith(_PER_S)


def stages_of_file(path: Path) -> str:
    """The stages of a file as the option takes them: one on each line, or several with commas between them.

    What follows ``#`` is a comment.
    """
    try:
        if path.is_file() and path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path}: is larger than {_MOST_BYTES:,} bytes, and no file of stages")
        lines = file_text(path).splitlines()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    written = {number: line.partition("#")[0].strip().strip(",") for number, line in enumerate(lines, 1)}
    stages = {number: text for number, text in written.items() if text}
    if not stages:
        raise ValueError(f"{path}: has no stages; write one on each line: 30s:50/s")
    problems = []
    for number, text in stages.items():
        try:
            for part in text.split(","):
                _stage(part.strip())
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return ",".join(stages.values())


class Stages(click.ParamType[str]):
    """Stages as text, which is passed on as it is."""

    name = "stages"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a file, and refuse lines that are not stages."""
        text = str(value)
        try:
            if text.endswith(_FILE_SUFFIX):
                text = stages_of_file(Path(text))
            parse_stages(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return text
