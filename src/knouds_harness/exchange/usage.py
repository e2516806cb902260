"""Read usage: its pages and rows, which may come late, and the charges of accounts."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from knouds_harness.contract.document import shipped_document
from knouds_harness.exchange.evidence import JSON, Call, Exchange, Request
from knouds_harness.exchange.pricing import amount_of
from knouds_harness.targets.resources import Persona

T = TypeVar("T")
Row = Mapping[str, Any]

MAX_LIMIT: Final = 500
"""The most rows that a page may have."""
_PAGE_ROWS: Final = 100
_MOST_ROWS: Final = 20_000
_LAST_ROWS: Final = 1_000
"""The newest rows of an account that are read again at the end."""
_FIRST_PAUSE_S: Final = 0.02


def rows_in(exchange: Exchange) -> list[JSON] | None:
    rows = exchange.members.get("rows") if exchange.status == HTTPStatus.OK else None
    return rows if isinstance(rows, list) else None


def rows_of(exchange: Exchange) -> list[Row]:
    """Return the rows of a page that are objects; empty if the response is not a page.

    An id that is a list or object, which is judged elsewhere, becomes text, so that ids can be compared.
    """
    return [_with_comparable_ids(row) for row in rows_in(exchange) or () if isinstance(row, dict)]


def _with_comparable_ids(row: Row) -> Row:
    odd = {name: repr(row[name]) for name in ("id", "requestId") if isinstance(row.get(name), list | dict)}
    return {**row, **odd} if odd else row


def model_ids_of(row: Row) -> list[str]:
    ids = row.get("modelIds")
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []


def fits(row: Row, filters: Mapping[str, str]) -> bool:
    return all(
        value in model_ids_of(row) if name == "modelId" else row.get(name) == value
        for name, value in filters.items()
    )


def run_of(row: Row) -> tuple[str, ...]:
    """Return the values of a row that identify its run among the runs of all accounts."""
    return tuple(str(row.get(name)) for name in ("id", "requestId", "createdAt"))


def rows_of_run(
    rows: Sequence[Row],
    *,
    known: Collection[str],
    workflow_slug: str | None,
    model_id: str | None,
    request_id: str | None,
) -> list[Row]:
    """Return the rows that can belong to a run: new ones, with its request id if that is known."""
    wanted = {"workflowSlug": workflow_slug} if workflow_slug else {"modelId": model_id or ""}
    new = [row for row in rows if row.get("requestId") not in known]
    own = [row for row in new if row.get("requestId") == request_id] if request_id else new
    return [row for row in own if fits(row, wanted)]


def listed_models(exchange: Exchange) -> list[str] | None:
    """Return the ids that ``listUsageModels`` lists, bare or in a member (its shape is open), or None."""
    if exchange.request.operation_id != "listUsageModels" or exchange.status != 200:
        return None
    body, members = exchange.json_or_none(), exchange.members
    lists = [each for each in members.values() or (body,) if isinstance(each, list)]
    if isinstance(members.get("models"), list):
        lists = [members["models"]]
    if len(lists) != 1 or not all(isinstance(each, str) for each in lists[0]):
        return None
    return list(lists[0])


def await_usage(
    read: Callable[[], T],
    is_enough: Callable[[T], bool],
    *,
    wait: Callable[[float], object],
    patience_s: float,
) -> T:
    """Read until the result is enough or ``patience_s`` have passed: rows may come late."""
    waited_s, pause_s = 0.0, _FIRST_PAUSE_S
    while not is_enough(last := read()) and waited_s < patience_s:
        wait(pause_s)
        waited_s += pause_s
        pause_s *= 2
    return last


def usage_request(persona: Persona, *, limit: int, offset: int) -> Request:
    call = Call(query=(("limit", str(limit)), ("offset", str(offset))))
    return call.request(shipped_document().operation_by_id["listUsage"], persona=persona.name)


Marks = Mapping[str, Collection[str] | None]


@dataclass(frozen=True, kw_only=True)
class ShownCharges:
    """What usage shows.

    Attributes:
        credits: The charges of all accounts together whose usage can be read; None if there is none.
        rows: How many rows came since.
        is_settled: No run was in progress, and the last one ended long enough ago.
        later_credits: What of the charges is that of runs that were created after ``until``.
        read_at: When it was read, by the target's clock; None if it does not tell.
    """

    credits: float | None
    unread: frozenset[str] = frozenset()
    rows: int = 0
    marks: Marks = field(default_factory=dict)
    is_ended: bool = True
    is_settled: bool = True
    later_credits: float = 0.0
    later_rows: int = 0
    read_at: datetime | None = None

    @property
    def settled_rows(self) -> int | None:
        return self.rows if self.is_settled else None


class _Charge(NamedTuple):
    """What a row says of its run; a row that changes is read again."""

    credits: float
    is_processing: bool
    is_later: bool


class ChargesShown:
    """The charges of accounts according to usage, each since ``begin`` was called for it.

    They include runs of other clients of the same account.

    Attributes:
        marks: The ids of the rows that were there before, by account; None if usage cannot be read.
    """

    def __init__(
        self,
        send: Callable[[Request], Exchange],
        marks: Marks = {},  # noqa: B006 - copied
        *,
        settle_s: float = 0.0,
        until: datetime | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet; charges may show up to ``settle_s`` after a run has ended.

        Runs that were created after ``until``, by the target's clock, are told apart.
        """
        self._send = send
        self._until = until
        self._read_at: datetime | None = None
        self._settle_s = settle_s
        self._clock = clock
        self._last_run_s = -math.inf
        self.marks = {user: None if rows is None else frozenset(rows) for user, rows in marks.items()}
        self._readers: dict[str, list[Persona]] = {}
        self._charge_by_row: dict[str, dict[str, _Charge]] = {}
        self._charges: dict[str, float | None] = {}

    def begin(self, user: str, personas: Iterable[Persona]) -> None:
        if user in self.marks and user in self._readers:
            return
        self._readers[user] = [each for each in personas if each.user == user and each.state == "active"]
        self._charge_by_row.setdefault(user, {})
        if user not in self.marks:
            rows = self._page(user, 0)
            self.marks.setdefault(user, None if rows is None else frozenset(rows))

    def note_run(self, user: str) -> None:
        """Note that a run got a response, so that its account's usage is read again."""
        self._charges.pop(user, None)
        self.note_end()

    def note_end(self) -> None:
        """Note that a run may have ended just now, so that charges may still come."""
        self._last_run_s = self._clock()

    def read(self, *, is_last: bool = False) -> ShownCharges:
        """Return the charges of all accounts.

        Args:
            is_last: Also read again accounts without new runs, and rows that were read before: another
                request may have been charged, or a run twice.
        """
        if is_last:
            self._charges.clear()
        for user in set(self._readers) & set(self.marks) - set(self._charges):
            self._charges[user] = self._charged(user, least_rows=_LAST_ROWS if is_last else 0)
        charges = dict(self._charges)
        known = [each for each in charges.values() if each is not None]
        rows = [row for by_id in list(self._charge_by_row.values()) for row in list(by_id.values())]
        later = [row.credits for row in rows if row.is_later]
        is_ended = not any(row.is_processing for row in rows)
        return ShownCharges(
            credits=sum(known) if known else None,
            unread=frozenset(user for user, each in charges.items() if each is None),
            rows=len(rows),
            marks=self.marks,
            is_ended=is_ended,
            is_settled=is_ended and self._clock() - self._last_run_s >= self._settle_s,
            later_credits=sum(later),
            later_rows=len(later),
            read_at=self._read_at,
        )

    def rows_since(self, user: str) -> int | None:
        """Return how many rows an account has got since ``begin``; None if usage cannot tell."""
        if self.marks.get(user) is None or user not in self._readers:
            return None
        charged = self._charged(user, least_rows=_LAST_ROWS)
        return None if charged is None else len(self._charge_by_row[user])

    def _charged(self, user: str, *, least_rows: int) -> float | None:
        """Sum the charges of an account since its mark; None if they cannot be read.

        Rows come newest first. Reading ends at a page with rows from before the mark, or with rows that have
        not changed since the last reading.
        """
        before, charge_by_row = self.marks[user], self._charge_by_row[user]
        if before is None:
            return None
        since: dict[str, _Charge] = {}
        for offset in range(0, _MOST_ROWS, _PAGE_ROWS):
            rows = self._page(user, offset)
            if rows is None:
                return None
            page = {row_id: charge for row_id, charge in rows.items() if row_id not in before}
            since |= page
            unread = {row_id for row_id, charge in page.items() if charge_by_row.get(row_id) != charge}
            if len(page if offset < least_rows else unread) < _PAGE_ROWS:
                break
        else:
            return None
        charge_by_row |= since
        return sum([each.credits for each in charge_by_row.values()])

    def _page(self, user: str, offset: int) -> Mapping[str, _Charge] | None:
        """Return the charges of one page by row id; None if no key may read it, or a row is unusable."""
        for reader in self._readers[user]:
            exchange = self._send(usage_request(reader, limit=_PAGE_ROWS, offset=offset))
            self._read_at = _instant(exchange.header("date"), parsedate_to_datetime)
            if (rows := rows_in(exchange)) is not None:
                charges = dict(filter(None, map(self._charge_of, rows)))
                return charges if len(charges) == len(rows) else None
        return None

    def _charge_of(self, row: JSON) -> tuple[str, _Charge] | None:
        credits_cost = amount_of(row.get("creditsCost")) if isinstance(row, dict) else None
        if credits_cost is None or "id" not in row:
            return None
        created = _instant(row.get("createdAt"), datetime.fromisoformat)
        is_later = bool(self._until and created and created > self._until)
        is_processing = row.get("status") == "processing"
        return repr(row["id"]), _Charge(credits_cost, is_processing, is_later)


def _instant(text: JSON, parse: Callable[[str], datetime]) -> datetime | None:
    try:
        found = parse(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found
