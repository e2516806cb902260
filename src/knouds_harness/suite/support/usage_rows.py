"""Read an account's usage: by page, as a whole, or until a row appears; and find the row of a run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from knouds_harness.exchange.evidence import Call, Exchange, body_of
from knouds_harness.exchange.usage import MAX_LIMIT, Row, await_usage, rows_of
from knouds_harness.suite.tester import Tester
from knouds_harness.suite.untested import Untested
from knouds_harness.targets.needs import KeyAndResource
from knouds_harness.targets.resources import Model, Persona, Workflow

Run = KeyAndResource[Workflow | Model]
"""What was run, and a key of the account that ran it."""
_MOST_PAGES = 12
_USAGE_WAIT_S = 2.0
_SETTLING_S = 5.0
_WATCHED_S = 10.0
"""For runs of another client, before rows count as those of requests that were to be refused."""


def page_of(persona: Persona, **query: str | int) -> tuple[str, Persona, Call]:
    parameters = tuple((name, str(value)) for name, value in query.items())
    return "listUsage", persona, Call(query=parameters)


def read_page(tester: Tester, persona: Persona, **query: str | int) -> Exchange:
    """Read a page of usage; a gateway's page leaves the test untested, as its rows are compared."""
    page = tester.send(*page_of(persona, **query))
    if page.is_from_outside:
        raise Untested(f"a page of usage: it was answered {page.answer}")
    return page


def read_pages(tester: Tester, persona: Persona) -> list[Exchange]:
    """Read pages from the first on until one is not full, at most twelve."""
    pages: list[Exchange] = []
    while len(pages) < _MOST_PAGES and (not pages or len(rows_of(pages[-1])) >= MAX_LIMIT):
        pages.append(read_page(tester, persona, limit=MAX_LIMIT, offset=MAX_LIMIT * len(pages)))
    return pages


def read_rows(tester: Tester, persona: Persona) -> list[Row]:
    return [row for page in read_pages(tester, persona) for row in rows_of(page)]


def await_rows(tester: Tester, persona: Persona, is_enough: Callable[[Sequence[Row]], bool]) -> list[Row]:
    """Read all rows of an account, again for a short time until there are enough, as rows may come late."""
    return await_usage(
        lambda: read_rows(tester, persona), is_enough, wait=tester.wait, patience_s=_USAGE_WAIT_S
    )


def is_used_by_others(tester: Tester, persona: Persona, page: Exchange) -> bool:
    """Return whether an account gets new rows while this check runs nothing there; watches for a while."""
    known = {repr(row.get("id")) for row in rows_of(page)}

    def has_more(later: Exchange) -> bool:
        return any(repr(row.get("id")) not in known for row in rows_of(later))

    read = partial(read_page, tester, persona, limit=MAX_LIMIT)
    return has_more(await_usage(read, has_more, wait=tester.wait, patience_s=_WATCHED_S))


def row_once_settled(tester: Tester, run: Run, choose: Callable[[list[Row]], Row | None]) -> Row | None:
    """Return the chosen row once it exists and is not processing; None if that takes too long."""

    def settled(rows: list[Row]) -> Row | None:
        row = choose(rows)
        return None if row is None or row.get("status") == "processing" else row

    return await_usage(
        lambda: settled(rows_of(_page_of(tester, run))),
        lambda row: row is not None,
        wait=tester.wait,
        patience_s=_SETTLING_S,
    )


def _page_of(tester: Tester, run: Run) -> Exchange:
    key, resource = run
    query = {"workflowSlug": resource.slug} if isinstance(resource, Workflow) else {"modelId": resource.name}
    return read_page(tester, key, **query, limit=MAX_LIMIT)


def rows_that_came(before: Sequence[Row], after: Sequence[Row], resource: Workflow | Model) -> list[Row]:
    known = {repr(row.get("id")) for row in before}
    return [row for row in after if repr(row.get("id")) not in known and _is_about(row, resource)]


def row_that_came(before: list[Row], after: list[Row], resource: Workflow | Model) -> Row | None:
    """Return the only new row of a workflow or model; None if there is not exactly one."""
    new = rows_that_came(before, after, resource)
    return new[0] if len(new) == 1 else None


def row_of_request(rows: list[Row], request_id: object) -> Row | None:
    """Return the row with a request id; None if there is not exactly one."""
    fitting = [row for row in rows if request_id is not None and row.get("requestId") == request_id]
    return fitting[0] if len(fitting) == 1 else None


def is_without_row(tester: Tester, run: Run, request_id: object) -> bool:
    """Return whether usage lists all rows of a workflow or model, and none has the request id."""
    page = _page_of(tester, run)
    rows = rows_of(page)
    is_whole = isinstance(body_of(page).get("rows"), list) and len(rows) < MAX_LIMIT
    return is_whole and request_id is not None and all(row.get("requestId") != request_id for row in rows)


def _is_about(row: Row, resource: Workflow | Model) -> bool:
    if isinstance(resource, Workflow):
        return row.get("workflowSlug") == resource.slug
    model_ids = row.get("modelIds")
    is_direct = row.get("workflowSlug") is None
    return is_direct and isinstance(model_ids, list) and resource.name in model_ids


def run_with_row(tester: Tester, run: Run, send: Callable[[], Exchange]) -> tuple[Exchange, Row | None]:
    """Send a run, and find its row by reading usage before and after; return the run and the row."""
    with reserved_run(tester, run):
        before = rows_of(_page_of(tester, run))
        exchange = send()
        row = row_once_settled(
            tester,
            run,
            lambda rows: row_that_came(before, rows, run.resource) if exchange.status == 200 else None,
        )
    return exchange, row


def reserved_run(tester: Tester, run: Run) -> AbstractContextManager[None]:
    """Keep other tests from running the same resource with that account while the context is open."""
    return tester.reserved(run.key, run.resource.run_operation, run.resource.name)


@contextmanager
def reserved_rows(tester: Tester, run: Run) -> Iterator[None]:
    """Keep other tests from adding rows of the same workflow or model while the context is open.

    A workflow may use any model, so for a model no workflow of the account may run.
    """
    is_model = isinstance(run.resource, Model)
    with tester.reserved(run.key, "runWorkflow") if is_model else nullcontext(), reserved_run(tester, run):
        yield
