"""Whether time stamps tell when something happened."""

from collections.abc import Iterator
from datetime import UTC, datetime

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.judging.checks.rate_limits import server_unix_s
from knouds_harness.judging.claim import Claim, check
from knouds_harness.targets.needs.keys import AUTHOR

_TOLERANCE_S = 2.0  # the server's clock tells whole seconds, and its database may have another


def _updated_unix_s(exchange: Exchange) -> float | None:
    """When a workflow was written last, as reading it shows; without an offset it is UTC."""
    try:
        told = datetime.fromisoformat(str(body_of(exchange).get("updatedAt")))
    except ValueError:
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


@check("workflows.updated-at-is-iso", needs=(AUTHOR,), given=("written", "before"))
def of_the_last_write(exchange: Exchange, *, written: Exchange, before: Exchange) -> Iterator[Claim]:
    """`updatedAt` is the time of the last write, by the server's own clock, and grows with each.

    ``written`` is the answer to the write, ``before`` what was read so long before that another time is told.
    """
    updated, earlier, answered = _updated_unix_s(exchange), _updated_unix_s(before), server_unix_s(written)
    if updated is None or not written.is_success:
        return
    if answered is not None:
        late_s = updated - answered
        yield Claim(
            fact="workflows.updated-at-is-iso",
            holds=-written.elapsed_ms / 1000 - _TOLERANCE_S <= late_s <= 1 + _TOLERANCE_S,
            expected="the time of the last write",
            observed=f"{abs(late_s):.0f} s {'after' if late_s > 0 else 'before'} it, by the server's Date",
            where="/updatedAt",
        )
    if earlier is not None:
        yield Claim(
            fact="workflows.updated-at-is-iso",
            holds=updated > earlier,
            expected="a later time than before the write",
            observed="the same" if updated == earlier else "an earlier one",
            where="/updatedAt",
        )
