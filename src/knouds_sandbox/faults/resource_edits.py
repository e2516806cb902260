"""Edits that faults of several families share: for runs, executions, usage and workflows."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response

from knouds_sandbox.access.authentication import Credentials
from knouds_sandbox.access.rate_limits import RateLimitRules
from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.envelopes import answer
from knouds_sandbox.fault_points import Edit, Point
from knouds_sandbox.faults.editing import (
    AnswerEdit,
    Handler,
    at,
    on_refusal,
    on_success,
    pause,
    refused,
    where,
)
from knouds_sandbox.handlers.executions import own_execution
from knouds_sandbox.handlers.usage import RowFilter
from knouds_sandbox.handlers.workflows import NewWorkflow
from knouds_sandbox.state.accounts import Account, Key, find_key_by_name
from knouds_sandbox.state.run_records import IN_FLIGHT, StoredRun, find_execution, find_run, select_runs
from knouds_sandbox.state.workflow_records import StoredWorkflow

RUNS = "runWorkflow runModel"

WORKFLOW_OPERATIONS = (
    "getWorkflow updateWorkflow deleteWorkflow moveWorkflow"
    " getWorkflowSchema getPublicWorkflowSchema runWorkflow"
)


def user_where(is_meant: Callable[[Key], bool], edit: AnswerEdit) -> Edit:
    """Edit the response of whoami to some keys."""
    return on_success("getWhoami", where(lambda answer: answer.key and is_meant(answer.key), edit))


DOCUMENT_OPERATIONS = "createWorkflow getWorkflow updateWorkflow"


def on_document(edit: AnswerEdit) -> Edit:
    """Edit every response that is a workflow document."""
    return on_success(DOCUMENT_OPERATIONS, edit)


def on_list(edit: AnswerEdit) -> Edit:
    return on_success("listWorkflows", edit)


WRITE_OPERATIONS = "updateWorkflow moveWorkflow deleteWorkflow"


def on_create(change: Callable[[NewWorkflow], object]) -> Edit:
    async def edit(_: HandlerCall, new: NewWorkflow) -> None:
        change(new)

    return at(Point.DRAFT, "createWorkflow", edit)


def with_slug(make: Callable[[str], str]) -> Edit:
    """Make slugs of new workflows from names in another way."""

    def change(new: NewWorkflow) -> None:
        new.slug = make(new.members["name"])

    return on_create(change)


def owning(
    is_meant: Callable[[HandlerCall, StoredWorkflow], bool], operations: str = WRITE_OPERATIONS
) -> Edit:
    return at(Point.OWNERSHIP, operations, is_meant)


def on_run(edit: AnswerEdit, operations: str = RUNS) -> Edit:
    """Edit the successful responses of synchronous runs."""
    return on_success(operations, where(lambda answer: answer.status == 200, edit))


def on_run_where(is_meant: Callable[[StoredRun], object], edit: AnswerEdit) -> Edit:
    return on_run(where(lambda answer: is_meant(ended_run(answer)), edit))


def ended_run(answer: OutgoingAnswer) -> StoredRun:
    """Return the account's run that ended last."""
    latest = "account_id = :account ORDER BY ended_unix_s DESC, id DESC LIMIT 1"
    (run,) = select_runs(answer.store, latest, {"account": answer.key and answer.key.account.id})
    return run


MODEL_NOT_FOUND = refused(404, "MODEL_NOT_FOUND", "There is no such model.")


def with_account(change: Callable[[Account], Account]) -> Edit:
    """Check the tier of another account than the one that runs."""
    return at(Point.TIER, "runModel", lambda _, account: change(account))


def taken_for_full(is_meant: Callable[[Credentials], bool], operations: str = "") -> Edit:
    """Accept some credentials as the key ``full`` of the enterprise account."""

    def apply(given: Credentials) -> None:
        if is_meant(given):
            given.accepted = find_key_by_name(given.store, "full")

    return at(Point.CREDENTIALS, operations, apply)


EXECUTION_OPERATIONS = "getExecution cancelExecution"


def on_submit(edit: AnswerEdit) -> Edit:
    return on_success("runWorkflow runModel", where(lambda answer: answer.status == 202, edit))


def on_poll(edit: AnswerEdit, *, status: str | None = None) -> Edit:
    """Edit responses to polls; with ``status``, only those with this status."""
    return on_success("getExecution", where(lambda answer: status in {None, answer.body["status"]}, edit))


def execution_of(answer: OutgoingAnswer) -> StoredRun | None:
    return find_execution(answer.store, answer.path_params["id"])


def since_end_s(answer: OutgoingAnswer) -> float | None:
    """Return the seconds since the end of the execution in the path; None before its end."""
    run = execution_of(answer)
    return None if run is None or run.ended_unix_s is None else time.time() - run.ended_unix_s


def on_cancel(status: str, act: Callable[[HandlerCall, StoredRun], Awaitable[Response | None]]) -> Edit:
    """Act on a cancel of an execution with this status; ``ended`` and ``in flight`` mean several statuses."""

    async def apply(call: HandlerCall, handle: Handler) -> Response:
        run = own_execution(call)
        if status in {run.status, "in flight" if run.status in IN_FLIGHT else "ended"}:
            return await act(call, run) or await handle(call)
        return await handle(call)

    return at(Point.HANDLER, "cancelExecution", apply)


def cancelling(run: StoredRun, status: str = "cancel_requested") -> Response:
    return answer({"executionId": run.execution_id, "status": status})


def cancelled_at_once(act: Callable[[HandlerCall, StoredRun], Any]) -> Edit:
    """Act on each of several simultaneous cancels, except the first."""

    async def cancel(call: HandlerCall, found: StoredRun) -> Response:
        await pause()
        run = find_run(call.store, found.id) or found
        if run.status == "cancel_requested":
            act(call, found)
        call.services.engine.cancel(run)
        return cancelling(run)

    return on_cancel("processing", cancel)


USAGE_OPERATIONS = "listUsage listUsageModels"

SELDOM = 10


def on_usage(edit: AnswerEdit) -> Edit:
    return on_success("listUsage", edit)


def on_rows(make: Callable[[StoredRun], Mapping[str, object]]) -> Edit:
    """Change members of each usage row to those that ``make`` returns for its run."""

    def apply(answer: OutgoingAnswer) -> None:
        for row in answer.body["rows"]:
            run = find_run(answer.store, row["id"])
            row.update(make(run) if run else {})

    return on_usage(apply)


def selecting(apply: Callable[[RowFilter], object], operations: str = "listUsage") -> Edit:
    """Change which usage rows are read."""

    def select(_: object, selection: RowFilter) -> RowFilter:
        apply(selection)
        return selection

    return at(Point.SELECTION, operations, select)


def ignoring(*conditions: str, asked: str = "", operations: str = "listUsage") -> Edit:
    """Drop conditions if the query has the parameters ``asked``, whose names are separated by spaces."""

    def apply(selection: RowFilter) -> None:
        if all(selection.query.get(name) for name in asked.split()):
            for name in conditions:
                selection.conditions.pop(name, None)

    return selecting(apply, operations)


LIMIT = "x-ratelimit-limit"

REMAINING = "x-ratelimit-remaining"

RESET = "x-ratelimit-reset"


def on_429(edit: AnswerEdit) -> Edit:
    return on_refusal(edit, RUNS, code="RATE_LIMIT_EXCEEDED")


def limited_to(limit: int, is_meant: Callable[[Account], bool]) -> Edit:
    """Give some accounts another rate limit."""

    class OtherLimit(RateLimitRules):
        def limit(self, account: Account) -> int:
            return limit if is_meant(account) else super().limit(account)

    return counted_by(OtherLimit)


def counted_by(rules: type[RateLimitRules]) -> Edit:
    return at(Point.RATE_LIMIT, "", rules)
