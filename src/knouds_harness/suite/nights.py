"""What earlier nights paid for and verified (``--rotate``): few credits pay for another part each night."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from knouds_harness.errors import RunRecordError, UsageError
from knouds_harness.files import file_content, replace_file
from knouds_harness.printable import counted, first_few
from knouds_harness.runs.findings import ALARM_AFTER
from knouds_harness.targets.resources import Waiver

_REMEMBERED: Final = timedelta(days=30)
_MOST_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Nights:
    """The nights before this one.

    Attributes:
        paid: When each paid test last ran, by its id.
        verified: When each fact was last verified.
        failed: The nights of the last 30 days in which a fact was in breach.
    """

    format: Literal["knouds-harness nights"] = "knouds-harness nights"
    format_version: Literal[1] = 1
    paid: Mapping[str, date] = field(default_factory=dict)
    verified: Mapping[str, date] = field(default_factory=dict)
    failed: Mapping[str, tuple[date, ...]] = field(default_factory=dict)

    def with_night(
        self, today: date, *, paid: Collection[str], verified: Collection[str], broken: Collection[str]
    ) -> "Nights":
        remembered = {
            fact: tuple(each for each in dates if each > today - _REMEMBERED)
            for fact, dates in self.failed.items()
        }
        failed = {fact: tuple({*remembered.get(fact, ()), today}) for fact in broken}
        return Nights(
            paid={**self.paid, **dict.fromkeys(paid, today)},
            verified={**self.verified, **dict.fromkeys(set(verified) - set(broken), today)},
            failed={fact: tuple(sorted(dates)) for fact, dates in (remembered | failed).items() if dates},
        )

    def turn_of(self, test: str, facts: Collection[str]) -> tuple[date, date]:
        """Return since when all that a test shows is verified, or it was last paid for; and the latter.

        The test of the earliest dates comes first.
        """
        paid = self.paid.get(test, date.min)
        oldest = min((self.verified.get(fact, date.min) for fact in facts), default=date.min)
        return max(paid, oldest), paid

    def waivers(self, alarm_after: int, facts: Collection[str], today: date) -> tuple[Waiver, ...]:
        """Return waivers of the facts that may be in breach tonight: fewer than so many nights in a row."""
        waivers = []
        for fact in facts:
            since = self.verified.get(fact, date.min)
            number = 1 + sum(since < each < today for each in self.failed.get(fact, ()))
            if number < alarm_after:
                reason = f"night {number} in a row, of {alarm_after} that {ALARM_AFTER} waits for"
                waivers.append(Waiver(fact=fact, reason=reason, expires=today))
        return tuple(waivers)

    def lines(self, asked: Collection[str], beyond: Mapping[str, float]) -> Iterator[str]:
        """Say how much is verified by all nights together, how old that is, and what is unsteady.

        ``beyond`` are the facts that cost more than the credits of a night, and how much.
        """
        verified = {fact: on for fact, on in self.verified.items() if fact in asked}
        if verified:
            yield (
                f"With earlier nights {len(verified)} of {counted(len(asked), 'fact')} verified, "
                f"the oldest on {min(verified.values())}."
            )
        yield from lines_beyond({fact: cost for fact, cost in beyond.items() if fact not in verified})
        for fact, dates in sorted(self.failed.items()):
            if fact in verified and verified[fact] >= dates[0]:
                on = first_few([str(each) for each in reversed(dates)], _MOST_NAMED)
                yield f"unsteady: {fact} was in breach on {on}, and last verified on {verified[fact]}"


def lines_beyond(beyond: Mapping[str, float]) -> Iterator[str]:
    for cost in sorted(set(beyond.values())):
        facts = sorted(fact for fact in beyond if beyond[fact] == cost)
        yield f"needs {cost:,.10g} credits in one night: {', '.join(facts)}"


def read_nights(path: Path | None) -> Nights:
    """Read the file of ``--rotate``; without one, or before the first night, there was none."""
    if path is None:
        return Nights()
    try:
        return _format().validate_json(file_content(path))
    except FileNotFoundError:
        return Nights()
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"--rotate {path}: this is not a file that --rotate wrote\n  Name another, or delete it."
        ) from error


def write_nights(path: Path, nights: Nights) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path.parent, path.name, _format().dump_json(nights, indent=1) + b"\n")
    except OSError as error:
        raise RunRecordError(f"--rotate {path}: {error.strerror}") from error


@cache
def _format() -> TypeAdapter[Nights]:
    return TypeAdapter(Annotated[Nights, BeforeValidator(_naming_its_format)])


def _naming_its_format(stored: object) -> object:
    if not (isinstance(stored, dict) and "format" in stored):
        raise ValueError("it does not name its format")
    return stored
