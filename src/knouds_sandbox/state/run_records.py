"""Runs and their cost. Every run is one row, which serves as execution, usage row and receipt.

So the response, the execution and the usage row of a run cannot disagree. Credits are charged in the
transaction that accepts a run, and refunded if the provider fails; a cancelled run stays charged (overview).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NoReturn

from knouds_sandbox.bodies import Refusal
from knouds_sandbox.legal.points import OWN, Choices
from knouds_sandbox.state.store import Store

IN_FLIGHT = ("processing", "cancel_requested")

FAILED: Final = {"error": {"code": "EXECUTION_FAILED", "message": "The provider failed."}}
"""The outcome of a run whose provider failed."""
KEPT_RUNS = 500_000
"""How many runs are kept; older ones that have ended are deleted."""
_FORGOTTEN_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """One run; ``outcome`` is ``{"result": …}`` or ``{"error": {code, message}}``, fixed at acceptance.

    ``source`` is ``api-slim``, ``api-workflow`` or ``canvas``; a synchronous run has no ``execution_id``.
    ``accept_run`` sets ``id`` and the times.
    """

    request_id: str
    execution_id: str | None = None
    account_id: str
    key_id: int | None
    source: str
    workflow_slug: str | None
    model_ids: tuple[str, ...]
    cost_credits: int
    is_granted: bool = False
    outcome: dict[str, Any]
    id: int = 0
    status: str = "processing"
    created_unix_s: float = 0.0
    due_unix_s: float = 0.0
    cancel_unix_s: float | None = None
    ended_unix_s: float | None = None

    @property
    def is_failing(self) -> bool:
        return "error" in self.outcome

    @property
    def charged_credits(self) -> int:
        """The credits that the account paid itself; 0 if a trial grant paid."""
        return 0 if self.is_granted else self.cost_credits


_NAMES = tuple(each.name for each in fields(StoredRun))
_COLUMNS = ", ".join(_NAMES).replace("cost_credits", "credits")


def charge(
    store: Store, account_id: str, cost_credits: int, *, forgives: Callable[[int, bool], bool]
) -> bool:
    """Charge credits in the caller's transaction, or refuse; return whether a trial grant paid."""
    balance, grant = store.row("SELECT credits, grant_credits FROM accounts WHERE id = ?", account_id)
    if grant is not None and grant >= cost_credits:
        store.write(
            "UPDATE accounts SET grant_credits = grant_credits - ? WHERE id = ?", (cost_credits, account_id)
        )
        return True
    if balance < cost_credits and not forgives(cost_credits, grant is not None):
        refuse_payment(cost_credits, has_grant=grant is not None)
    if taken_credits := min(balance, cost_credits):
        store.write("UPDATE accounts SET credits = credits - ? WHERE id = ?", (taken_credits, account_id))
    return False


def refuse_payment(cost_credits: int, *, has_grant: bool) -> NoReturn:
    if has_grant:
        raise Refusal(402, "grant_exhausted", "The trial grant is used up.")
    raise Refusal(402, "INSUFFICIENT_CREDITS", f"The run costs {cost_credits} credits, more than are left.")


def accept_run(store: Store, run: StoredRun, *, duration_s: float = 0.0) -> StoredRun:
    """Record a run that is already charged, in the caller's transaction."""
    now = time.time()
    started = replace(run, created_unix_s=now, due_unix_s=now + duration_s)
    columns = {name: getattr(started, name) for name in _NAMES if name not in {"id", "cost_credits"}}
    columns |= {"model_ids": json.dumps(run.model_ids), "outcome": json.dumps(run.outcome)}
    accepted = replace(started, id=store.insert("runs", credits=run.cost_credits, **columns))
    if accepted.id > KEPT_RUNS and accepted.id % _FORGOTTEN_AT_ONCE == 0:
        forget_old_runs(store, accepted.id)
    return accepted


def end_run(store: Store, run: StoredRun, status: str, choices: Choices = OWN) -> None:
    """Give a run its final status, in the caller's transaction; a failure is free unless it is charged."""
    is_free = status == "failed" and choices["failed"] == "refunded"
    charged_credits = 0 if is_free else run.cost_credits
    ended = store.write(
        "UPDATE runs SET status = ?, ended_unix_s = ?, credits = ? WHERE id = ? AND request_id = ?",
        (status, time.time(), charged_credits, run.id, run.request_id),
    )
    if not ended.rowcount:  # the state was reset meanwhile
        return
    if is_free:
        column = "grant_credits" if run.is_granted else "credits"
        store.write(
            f"UPDATE accounts SET {column} = {column} + ? WHERE id = ?",  # noqa: S608 - one of two column names
            (run.cost_credits, run.account_id),
        )


def forget_old_runs(store: Store, last_id: int) -> None:
    """Delete ended runs and their deliveries, except the last ``KEPT_RUNS``."""
    until = last_id - KEPT_RUNS
    store.write("DELETE FROM deliveries WHERE run_id <= ? AND next_unix_s IS NULL", (until,))
    store.write(
        "DELETE FROM runs WHERE id <= ? AND ended_unix_s IS NOT NULL"
        " AND id NOT IN (SELECT run_id FROM deliveries)",
        (until,),
    )


def cancel_when_due(store: Store, run: StoredRun) -> None:
    """Make a run end as cancelled, without a request to cancel it."""
    store.write("UPDATE runs SET cancel_unix_s = due_unix_s WHERE id = ?", (run.id,))


def request_cancel(store: Store, run: StoredRun, *, at_unix_s: float) -> None:
    """Record that the provider was asked to stop, and when it will have stopped."""
    store.write(
        "UPDATE runs SET status = 'cancel_requested', cancel_unix_s = ?"
        " WHERE id = ? AND status = 'processing'",
        (at_unix_s, run.id),
    )


def find_run(store: Store, run_id: int) -> StoredRun | None:
    return next(iter(select_runs(store, "id = :id", {"id": run_id})), None)


def find_execution(store: Store, execution_id: str) -> StoredRun | None:
    """Return the asynchronous run with this execution id, of any account."""
    return next(iter(select_runs(store, "execution_id = :id", {"id": execution_id})), None)


def last_run_id(store: Store) -> int:
    return store.row("SELECT max(id) FROM runs")[0] or 0


def runs_in_flight(store: Store) -> list[StoredRun]:
    return select_runs(store, "ended_unix_s IS NULL", {})


def select_runs(store: Store, condition: str, values: dict[str, Any]) -> list[StoredRun]:
    """Return the runs that meet an SQL condition, which may also give the order."""
    return [_run(row) for row in store.rows(f"SELECT {_COLUMNS} FROM runs WHERE {condition}", values)]  # noqa: S608


def _run(row: Any) -> StoredRun:
    values = dict(zip(_NAMES, row, strict=True))
    read = {"model_ids": tuple(json.loads(values["model_ids"])), "outcome": json.loads(values["outcome"])}
    return StoredRun(**values | read | {"is_granted": bool(values["is_granted"])})
