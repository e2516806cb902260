"""Times as people write them on a command line: 90, 30s, 10m or 1h30m, as Locust takes them too."""

from __future__ import annotations

import re
from typing import Final

import click

_TIMESPAN: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


class Timespan(click.ParamType[str]):
    """A time, kept as it was written."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no time, or none at all."""
        if not (_TIMESPAN.fullmatch(value) and re.search("[1-9]", value)):
            self.fail(f"{value!r} is no time; write 90, 30s, 10m or 1h30m", param, ctx)
        return value


def seconds_of(timespan: str) -> float:
    """How long a time is that ``Timespan`` has taken."""
    found = _TIMESPAN.fullmatch(timespan)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600.0 * hours + 60.0 * minutes + seconds
