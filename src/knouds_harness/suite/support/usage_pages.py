"""Reading an account's usage: page by page, whole, and until a row has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks.usage import MAX_LIMIT, Row, rows_of
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.personas import Persona

_MOST_PAGES = 12
_PATIENCE_S = 2.0
_LONGEST_PAUSE_S = 0.5


def read_page(tester: Tester, persona: Persona, **query: str | int) -> Exchange:
    """One page of usage, by the parameters of its query."""
    parameters = tuple((name, str(value)) for name, value in query.items())
    return tester.send("listUsage", persona, Call(query=parameters))


def read_pages(
    tester: Tester, persona: Persona, *, size: int = MAX_LIMIT, most: int = _MOST_PAGES
) -> list[Exchange]:
    """Pages from the first on until one is not full; no more than ``most``."""
    pages: list[Exchange] = []
    while len(pages) < most and (not pages or len(rows_of(pages[-1])) >= size):
        pages.append(read_page(tester, persona, limit=size, offset=size * len(pages)))
    return pages


def read_rows(tester: Tester, persona: Persona) -> list[Row]:
    """Every row of an account."""
    return [row for page in read_pages(tester, persona) for row in rows_of(page)]


def await_rows(tester: Tester, persona: Persona, is_enough: Callable[[Sequence[Row]], bool]) -> list[Row]:
    """Every row of an account, read again for a moment until there is enough: rows may come late."""
    waited_s, pause_s = 0.0, 0.02
    while not is_enough(rows := read_rows(tester, persona)) and waited_s < _PATIENCE_S:
        tester.wait(pause_s)
        waited_s += pause_s
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return rows
