"""Runs whose charges may not all have shown in usage when they ended, and reading usage again."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import TypeAdapter, ValidationError

from knouds_harness.errors import ExitCode, RunRecordError, UsageError
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.usage import ChargesShown, ShownCharges
from knouds_harness.exchange.user_state import user_secret
from knouds_harness.files import file_content
from knouds_harness.runs.record import rewrite_usage
from knouds_harness.runs.run_file import UsageShown
from knouds_harness.runs.writer import RunWriter
from knouds_harness.targets.profile import Target

UNSETTLED_FILE: Final = "unsettled.json"
_ROUNDED: Final = timedelta(seconds=2)
"""What an instant in a header leaves out: the fraction of a second, and servers keep one for a second."""
_SIGNED_FOR: Final = b"knouds-harness unsettled usage\n"


@dataclass(frozen=True, kw_only=True)
class UnsettledUsage:
    """The contents of ``unsettled.json``: a run whose charges may not all have shown when it ended.

    Attributes:
        settles_at: From when on usage shows all charges, UTC.
        ended_at: When it ended, by the target's clock as far as that is known.
        rows: How many rows usage had of it by then.
        runs: How many runs it sent at most; None if it did not count them.
    """

    format: Literal["knouds-harness unsettled"] = "knouds-harness unsettled"
    base_url: str
    settles_at: datetime
    counted_credits: float
    marks: Mapping[str, tuple[str, ...]]
    ended_at: datetime | None = None
    rows: int = 0
    runs: int | None = None
    signature: str = ""

    def signed(self) -> Self:
        """Return it with a signature of the user's secret; with none, if that cannot be read."""
        content = unsettled_format().dump_json(replace(self, signature=""))
        try:
            digest = hmac.new(user_secret(), _SIGNED_FOR + content, hashlib.sha256)
        except UsageError:
            return replace(self, signature="")
        return replace(self, signature=digest.hexdigest())


@cache
def unsettled_format() -> TypeAdapter[UnsettledUsage]:
    return TypeAdapter(UnsettledUsage)


def unsettled_in(folder: Path) -> UnsettledUsage | None:
    """Return what a run of this user has noted of usage that was not settled; None if nothing.

    A run folder may come from anywhere, so what has no valid signature counts as nothing.
    """
    try:
        read = unsettled_format().validate_json(file_content(folder / UNSETTLED_FILE))
    except (OSError, ValidationError):
        return None
    valid = read.signed().signature
    return read if valid and hmac.compare_digest(read.signature.encode(), valid.encode()) else None


def note_usage(
    writer: RunWriter, target: Target, shown: ShownCharges, *, counted_credits: float, runs: int | None = None
) -> None:
    """Record what usage showed at the end of a run, and what is needed to read it again.

    ``runs`` is how many it sent: if usage shows more, other clients of the account may be in it.
    """
    writer.usage = UsageShown(
        credits=shown.credits,
        given_back_credits=writer.budget.given_back_credits if writer.budget else 0.0,
        unread=tuple(sorted(shown.unread)),
        is_settled=shown.is_settled,
        is_most=runs is not None and shown.rows > runs,
    )
    if shown.is_settled or shown.credits is None:
        return
    unsettled = UnsettledUsage(
        base_url=target.base_url,
        settles_at=datetime.now(UTC) + timedelta(seconds=target.limits.settle_s),
        counted_credits=float(counted_credits),  # as it is read again
        marks={user: tuple(sorted(rows)) for user, rows in shown.marks.items() if rows is not None},
        ended_at=shown.read_at or datetime.now(UTC),
        rows=shown.rows,
        runs=runs,
    )
    writer.add_file(UNSETTLED_FILE, unsettled_format().dump_json(unsettled.signed()))


def settle(folder: Path, client: Client) -> tuple[str, ExitCode]:
    """Read usage again for a run that was not settled; return what it cost in words, and an exit code.

    Runs that were created after it ended are not its own, unless fewer than it had by then are left, or none.
    Once it is settled, the run record says what it cost, and ``unsettled.json`` is removed.
    """
    unsettled = unsettled_in(folder)
    if unsettled is None or unsettled.base_url != client.target.base_url:
        return "", ExitCode.KEPT
    if (now := datetime.now(UTC)) < unsettled.settles_at:
        seconds = (unsettled.settles_at - now).total_seconds()
        return f"{folder}: usage is not settled yet; read it again in {seconds:.0f} s", ExitCode.BREACH
    until = unsettled.ended_at and unsettled.ended_at + _ROUNDED
    charges = ChargesShown(client.send, unsettled.marks, until=until)
    for user in unsettled.marks:
        charges.begin(user, client.personas.values())
    shown = charges.read(is_last=True)
    if shown.credits is None:
        return f"{folder}: usage cannot be read", ExitCode.BREACH
    own_credits, rows = shown.credits - shown.later_credits, shown.rows - shown.later_rows
    if not rows or rows < unsettled.rows:  # its clock tells nothing
        own_credits, rows = shown.credits, shown.rows
    is_most = unsettled.runs is not None and rows > unsettled.runs
    usage = UsageShown(credits=own_credits, unread=tuple(sorted(shown.unread)), is_most=is_most)
    limit_credits = rewrite_usage(folder, usage)
    (folder / UNSETTLED_FILE).unlink(missing_ok=True)
    words = f"{folder}: {usage.words}"
    if own_credits > unsettled.counted_credits:
        words += f", not {unsettled.counted_credits:,.10g} as counted when it ended"
    if own_credits < shown.credits:
        words += f"; since then, later runs were charged {shown.credits - own_credits:,.10g}"
    if own_credits > limit_credits:
        return f"{words}; the limit was {limit_credits:,.10g}", ExitCode.GUARD
    return words, ExitCode.KEPT


def settle_earlier(root: Path, client: Client) -> Iterator[str]:
    """Read usage again for the runs in a folder that were on these accounts, if it is settled by now."""
    now, users = datetime.now(UTC), {each.user for each in client.personas.values()}
    for path in sorted(root.glob(f"*/{UNSETTLED_FILE}")):
        noted = unsettled_in(path.parent)
        if noted and noted.settles_at <= now and users.issuperset(noted.marks):
            with suppress(RunRecordError):
                words, _ = settle(path.parent, client)
                if words:
                    yield words
