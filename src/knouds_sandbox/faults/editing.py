"""The edits that faults make: in responses, in requests, and in what the server decides.

A path leads to a member from the top of the body: ``rows.*.id`` is the ``id`` of each of the ``rows``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from starlette.responses import Response

from knouds_sandbox.access.keys import Credentials
from knouds_sandbox.answers import AnswerEdit, OutgoingAnswer, where
from knouds_sandbox.bodies import answer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point, note_met
from knouds_sandbox.handlers.account import RowFilter
from knouds_sandbox.handlers.runs import own_execution
from knouds_sandbox.handlers.workflows import NewWorkflow
from knouds_sandbox.state.accounts import Account, find_key_by_name
from knouds_sandbox.state.run_records import IN_FLIGHT, StoredRun, find_execution, find_run, select_runs

_PAUSE_S = 0.05
_PAUSES = 5

RUNS = "runWorkflow runModel"
WORKFLOW_OPERATIONS = (
    "getWorkflow updateWorkflow deleteWorkflow moveWorkflow"
    " getWorkflowSchema getPublicWorkflowSchema runWorkflow"
)
DOCUMENT_OPERATIONS = "createWorkflow getWorkflow updateWorkflow"
WRITE_OPERATIONS = "updateWorkflow moveWorkflow deleteWorkflow"
EXECUTION_OPERATIONS = "getExecution cancelExecution"
USAGE_OPERATIONS = "listUsage listUsageModels"
LIMIT, REMAINING, RESET = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
SELDOM = 10

Handler: TypeAlias = Callable[[HandlerCall], Awaitable[Response]]


def on_success(operations: str, edit: AnswerEdit) -> Edit:
    """Edit each successful response of these operations; names are separated by spaces."""
    return on_answer(operations, where(lambda answer: answer.status < 400, edit))


def on_refusal(
    edit: AnswerEdit, operations: str = "", *, code: str | None = None, status: int | None = None
) -> Edit:
    """Edit each refusal with this code and status; without ``operations``, those of every operation."""

    def is_meant(answer: OutgoingAnswer) -> bool:
        return answer.code is not None and code in {None, answer.code} and status in {None, answer.status}

    return on_answer(operations, where(is_meant, edit))


def on_answer(operations: str, edit: AnswerEdit) -> Edit:
    return at(Point.ANSWER, operations, edit)


def at(point: Point, operations: str, apply: Callable[..., Any]) -> Edit:
    """Make an edit at a point; without ``operations``, on every operation."""
    return Edit(point=point, operations=frozenset(operations.split()), apply=apply)


def without(path: str) -> AnswerEdit:
    return for_each(path, lambda holder, name: holder.pop(name, None))


def with_value(path: str, value: object) -> AnswerEdit:
    return for_each(path, lambda holder, name: holder.update({name: value}))


def changed(path: str, change: Callable[[Any], Any]) -> AnswerEdit:
    return for_each(path, lambda holder, name: holder.update({name: change(holder[name])}))


def for_each(path: str, edit: Callable[[Any, str], object]) -> AnswerEdit:
    """Edit every object on the path that can hold the member: ``edit(holder, name)``."""
    *steps, name = path.split(".")

    def apply(answer: OutgoingAnswer) -> None:
        for holder in list(_reached(answer.body, steps)):
            edit(holder, name)

    return apply


def _reached(value: Any, steps: list[str]) -> Iterator[Any]:
    if not steps:
        yield value
    elif steps[0] == "*":
        for item in value:
            yield from _reached(item, steps[1:])
    else:
        yield from _reached(value[steps[0]], steps[1:])


def with_header(name: str, change: Callable[[str], str | None]) -> AnswerEdit:
    """Change the value of a header; remove the header if the new value is None."""

    def apply(answer: OutgoingAnswer) -> None:
        if name in answer.headers and (value := change(answer.headers.pop(name))) is not None:
            answer.headers[name] = value

    return apply


def of_type(media_type: str) -> AnswerEdit:
    return with_header("content-type", lambda _: media_type)


def sent_as(content: bytes, media_type: str | None, *, status: int = 200) -> AnswerEdit:
    def apply(answer: OutgoingAnswer) -> None:
        answer.status, answer.content = status, content
        del answer.headers["content-type"]
        answer.headers |= {"content-type": media_type} if media_type else {}

    return apply


def refused(status: int, code: str, error: str | None = None, **context: Any) -> AnswerEdit:
    """Refuse; without ``error``, with the text of the handler's refusal."""
    return lambda answer: answer.refuse(
        status, code, answer.body["error"] if error is None else error, **context
    )


async def pause() -> None:
    """Let other requests run between a read and a write, like a server without a lock."""
    await asyncio.sleep(_PAUSE_S)


def answers_for_last_request(operation: str) -> Edit:
    """Answer simultaneous requests with the response for the last one."""

    async def handle_for_the_last(call: HandlerCall, handle: Handler) -> Response:
        last_key = call.services.noted
        last_key[operation] = call.key
        for _ in range(_PAUSES):  # long enough to overlap on a busy machine
            await pause()
        if last_key[operation].account.id != call.account.id:
            note_met()
        return await handle(replace(call, key=last_key[operation]))

    return at(Point.HANDLER, operation, handle_for_the_last)


on_document = partial(on_success, DOCUMENT_OPERATIONS)
on_list = partial(on_success, "listWorkflows")
on_usage = partial(on_success, "listUsage")
on_429 = partial(on_refusal, operations=RUNS, code="RATE_LIMIT_EXCEEDED")


def on_create(change: Callable[[NewWorkflow], object]) -> Edit:
    async def edit(_: HandlerCall, new: NewWorkflow) -> None:
        change(new)

    return at(Point.DRAFT, "createWorkflow", edit)


def with_slug(make: Callable[[str], str]) -> Edit:

    def change(new: NewWorkflow) -> None:
        new.slug = make(new.members["name"])

    return on_create(change)


def on_run(edit: AnswerEdit, operations: str = RUNS) -> Edit:
    return on_success(operations, where(lambda answer: answer.status == 200, edit))


def on_run_where(is_meant: Callable[[StoredRun], object], edit: AnswerEdit) -> Edit:
    return on_run(where(lambda answer: is_meant(ended_run(answer)), edit))


def ended_run(answer: OutgoingAnswer) -> StoredRun:
    """Return the account's run that ended last."""
    latest = "account_id = :account ORDER BY ended_unix_s DESC, id DESC LIMIT 1"
    (run,) = select_runs(answer.store, latest, {"account": answer.key and answer.key.account.id})
    return run


def taken_for_full(is_meant: Callable[[Credentials], bool], operations: str = "") -> Edit:

    def apply(given: Credentials) -> None:
        if is_meant(given):
            given.accepted = find_key_by_name(given.store, "full")

    return at(Point.CREDENTIALS, operations, apply)


def on_submit(edit: AnswerEdit) -> Edit:
    return on_success(RUNS, where(lambda answer: answer.status == 202, edit))


def on_poll(edit: AnswerEdit, *, status: str | None = None) -> Edit:
    """Edit responses to polls; with ``status``, only those with this status."""
    return on_success("getExecution", where(lambda answer: status in {None, answer.body["status"]}, edit))


def since_end_s(answer: OutgoingAnswer) -> float | None:
    """Return the seconds since the end of the execution in the path; None before its end."""
    run = find_execution(answer.store, answer.path_params["id"])
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


def on_rows(make: Callable[[StoredRun], Mapping[str, object]]) -> Edit:
    """Change members of each usage row to those that ``make`` returns for its run."""

    def apply(answer: OutgoingAnswer) -> None:
        for row in answer.body["rows"]:
            run = find_run(answer.store, row["id"])
            row.update(make(run) if run else {})

    return on_usage(apply)


def selecting(apply: Callable[[RowFilter], object], operations: str = "listUsage") -> Edit:

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


def counted_with(**members: Any) -> Edit:
    """Count requests with other members of ``RateLimitRules``."""
    return at(Point.RATE_LIMIT, "", lambda rules: replace(rules, **members))


def limited_to(limit: int, is_meant: Callable[[Account], bool]) -> Edit:
    return counted_with(limit=lambda account: limit if is_meant(account) else account.rate_limit)
