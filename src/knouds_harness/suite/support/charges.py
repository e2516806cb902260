"""Which usage row belongs to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.execution_status import body_of
from knouds_harness.suite.support.call import Call
from knouds_harness.suite.tester import Tester
from knouds_harness.targets.needs.need import KeyAndResource
from knouds_harness.targets.resources import Model, Workflow

Row = Mapping[str, Any]
Run = KeyAndResource[Workflow | Model]
"""What was run, and a key of the account that ran it."""
_MOST_ROWS = 500
_DEADLINE_S = 5.0
_PAUSE_S = 0.1


def rows_of(exchange: Exchange) -> list[Row]:
    """The rows of a usage page; none where there is no such page."""
    body = exchange.json_or_none()
    rows = body.get("rows") if exchange.status == 200 and isinstance(body, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def row_that_came(before: list[Row], after: list[Row], resource: Workflow | Model) -> Row | None:
    """The row of a run between two looks at usage; None where it is not plain which one that is."""
    known = {repr(row.get("id")) for row in before}
    new = [row for row in after if repr(row.get("id")) not in known and _is_about(row, resource)]
    return new[0] if len(new) == 1 else None


def row_of_request(rows: list[Row], request_id: object) -> Row | None:
    """The row that carries a request's id."""
    fitting = [row for row in rows if request_id is not None and row.get("requestId") == request_id]
    return fitting[0] if len(fitting) == 1 else None


def is_without_row(tester: Tester, run: Run, request_id: object) -> bool:
    """Whether usage lists all rows of a workflow or model and none of them carries a request's id."""
    page = look_at_usage(tester, run)
    rows = rows_of(page)
    is_whole = isinstance(body_of(page).get("rows"), list) and len(rows) < _MOST_ROWS
    return is_whole and request_id is not None and all(row.get("requestId") != request_id for row in rows)


def _is_about(row: Row, resource: Workflow | Model) -> bool:
    if isinstance(resource, Workflow):
        return row.get("workflowSlug") == resource.slug
    model_ids = row.get("modelIds")
    is_direct = row.get("workflowSlug") is None
    return is_direct and isinstance(model_ids, list) and resource.name in model_ids


def run_with_row(tester: Tester, run: Run, send: Callable[[], Exchange]) -> tuple[Exchange, Row | None]:
    """Run, with a look at the usage of that workflow or model before and after.

    Returns:
        The run, and its row.
    """
    with reserved_run(tester, run):
        before = rows_of(look_at_usage(tester, run))
        exchange = send()
        row = row_once_settled(
            tester,
            run,
            lambda rows: row_that_came(before, rows, run.resource) if exchange.status == 200 else None,
        )
    return exchange, row


def reserved_run(tester: Tester, run: Run) -> AbstractContextManager[None]:
    """Keep other tests from running the same with that account while the context is open."""
    return tester.reserved(run.key, run.resource.run_operation, run.resource.name)


@contextmanager
def reserved_rows(tester: Tester, run: Run) -> Iterator[None]:
    """Keep other tests from adding rows of the same workflow or model, while the context is open.

    A workflow may use any model: so where a model is run, none of the account's may be.
    """
    with ExitStack() as reserved:
        if isinstance(run.resource, Model):
            reserved.enter_context(tester.reserved(run.key, "runWorkflow"))
        reserved.enter_context(reserved_run(tester, run))
        yield


def row_once_settled(tester: Tester, run: Run, choose: Callable[[list[Row]], Row | None]) -> Row | None:
    """The chosen row as soon as it is there and no longer processing; None where it is not in time."""
    waited_s = 0.0
    while True:
        row = choose(rows_of(look_at_usage(tester, run)))
        if row is not None and row.get("status") != "processing":
            return row
        if waited_s >= _DEADLINE_S:
            return None
        tester.wait(_PAUSE_S)
        waited_s += _PAUSE_S


def look_at_usage(tester: Tester, run: Run) -> Exchange:
    """Ask for all usage that an account has of a workflow or model."""
    key, resource = run
    of_resource = (
        ("workflowSlug", resource.slug) if isinstance(resource, Workflow) else ("modelId", resource.name)
    )
    query = (of_resource, ("limit", str(_MOST_ROWS)))
    return tester.send("listUsage", key, Call(query=query))
