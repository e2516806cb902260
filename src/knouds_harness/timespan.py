"""Parse durations of the command line: 90, 30s, 10m or 1h30m, the forms that Locust accepts."""

import re
from typing import Final

import click

_TIMESPAN: Final = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?")
_LONGEST_S: Final = 366 * 24 * 3600


class Timespan(click.ParamType[int]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds; refuse zero and anything that is not a duration."""
        found = _TIMESPAN.fullmatch(str(value))
        hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        whole_s = 3600 * hours + 60 * minutes + seconds
        if whole_s > _LONGEST_S:
            self.fail(f"{str(value)[:20]!r} is too long: a year at most", param, ctx)
        if not whole_s:
            self.fail(f"{value!r} is not a time; write 90, 30s, 10m or 1h30m", param, ctx)
        return whole_s
