"""Whether timestamps tell when something happened."""

from collections.abc import Iterator
from datetime import UTC, datetime

from knouds_harness.exchange.evidence import Exchange, body_of
from knouds_harness.exchange.usage import rows_in
from knouds_harness.judging.checks.rate_limits import server_unix_s
from knouds_harness.judging.checks.runs import amount
from knouds_harness.judging.claim import Claim, answers_to, check, member_is
from knouds_harness.targets.needs.keys import ANY_KEY, AUTHOR

_MOST_AHEAD_S = 14 * 3600  # a time without an offset may be in any zone
_TOLERANCE_S = 2.0  # Date has whole seconds, and the server's database may have another clock


def _unix_s(told: object) -> float | None:
    """Parse a time; without an offset it is taken as UTC."""
    try:
        time = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


@check("workflows.updated-at-is-iso", needs=(AUTHOR,))
def of_the_last_write(exchange: Exchange, *, written: Exchange, before: Exchange) -> Iterator[Claim]:
    """`updatedAt` is the time of the last write, by the server's own clock, and grows with each.

    ``written`` is the response to the write, ``before`` a read so long before it that the times must differ.
    """
    updated, earlier = (_unix_s(body_of(each).get("updatedAt")) for each in (exchange, before))
    answered = server_unix_s(written)
    if updated is None or not written.is_success:
        return
    if answered is not None:
        late_s = updated - answered
        holds = -written.elapsed_ms / 1000 - _TOLERANCE_S <= late_s <= 1 + _TOLERANCE_S
        observed = f"{abs(late_s):.0f} s {'after' if late_s > 0 else 'before'} it, by the server's Date"
        yield Claim("the time of the last write", observed, holds=holds, where="/updatedAt")
    if earlier is not None:
        expected = "a later time than before the write"
        yield member_is(body_of(exchange), "updatedAt", expected, holds=updated > earlier)


@check("usage.row-shape", needs=(ANY_KEY,), applies=answers_to("listUsage"))
def of_rows(exchange: Exchange) -> Iterator[Claim]:
    """By the server's own clock, a run's `createdAt` plus `durationMs` is past when usage shows the run."""
    answered = server_unix_s(exchange)
    ends = [
        begun + (amount(row.get("durationMs")) or 0) / 1000
        for row in rows_in(exchange) or ()
        if isinstance(row, dict) and (begun := _unix_s(row.get("createdAt"))) is not None
    ]
    if answered is not None and ends:
        late = [each for each in ends if each > answered + _MOST_AHEAD_S]
        expected = "runs whose createdAt plus durationMs is before the response"
        yield Claim(expected, f"{len(late)} of {len(ends)} end later", holds=not late, where="/rows")
