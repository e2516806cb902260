"""``knouds-harness selftest``: measure how accurately this machine generates load."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from knouds_harness.errors import ExitCode
from knouds_harness.option_declarations import FiniteRange

if TYPE_CHECKING:
    from rich.console import Console

    from knouds_harness.load.selftest.selftest import SelftestRow, SelftestVerdict

RATES: Final = (500, 2000, 5000)
_WIDTH: Final = 34


@click.command()
@click.option(
    "--seconds",
    type=FiniteRange(1, 600),
    default=8.0,
    show_default=True,
    metavar="N",
    help="Seconds for each of six measurements",
)
@click.option(
    "--rate",
    "rates",
    type=FiniteRange(1),
    multiple=True,
    metavar="N",
    help=f"Arrivals per second (repeatable) [default: {', '.join(map(str, RATES))}]",
)
def selftest(*, seconds: float, rates: tuple[float, ...]) -> None:
    """Check whether this machine can generate load accurately.

    Loads a server on this machine that knows how long its responses really took, and compares: do arrivals
    come at the given rate, are percentiles true, is each request counted, what does a request cost. Takes
    about a minute. Run it where and when you would measure.
    """
    from rich.text import Text

    from knouds_harness.command_output import CommandConsole
    from knouds_harness.load.selftest.selftest import selftest as run_selftest

    console = CommandConsole()
    verdict = run_selftest(seconds, rates=sorted(rates) or RATES, on_rows=lambda rows: _print(rows, console))
    console.print()
    for line in said(verdict):
        console.print(Text(line), soft_wrap=True)
    sys.exit(ExitCode.KEPT if verdict.is_met else ExitCode.INVALID_MEASUREMENT)


def said(verdict: SelftestVerdict) -> list[str]:
    rate = verdict.highest_rate
    lines = [
        f"This machine keeps up to {rate:,g} arrivals per second from one process."
        if rate
        else "This machine keeps none of these rates: it is too busy, or too small."
    ]
    lines.append(
        "Its percentiles are true to within 1 % or 0.5 ms."
        if verdict.is_exact
        else "Its percentiles are not true to within 1 % or 0.5 ms: see above by how much."
    )
    if not verdict.is_counted:
        lines.append("Requests were lost or counted twice: do not trust any count of this machine.")
    if verdict.timer != "timerfd":
        lines.append(f"It has no timerfd; arrivals are driven by the {verdict.timer}, which is less exact.")
    return lines


def _print(rows: Sequence[SelftestRow], console: Console) -> None:
    from rich.text import Text

    for row in rows:
        sign = (
            ("ok", "green") if row.is_met and row.bound else ("no", "red") if not row.is_met else ("  ", "")
        )
        bound = f"  {row.bound}" if row.bound else ""
        console.print(
            Text.assemble(sign, f"  {row.measure:{_WIDTH}} {row.found}", (bound, "dim")), soft_wrap=True
        )
