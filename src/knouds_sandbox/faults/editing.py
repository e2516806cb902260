"""The edits that faults make in responses.

A path leads to a member from the top of the body: ``rows.*.id`` is the ``id`` of each of the ``rows``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from starlette.responses import Response

from knouds_sandbox.answers import OutgoingAnswer
from knouds_sandbox.calls import HandlerCall
from knouds_sandbox.fault_points import Edit, Point

_PAUSE_S = 0.05
_PAUSES = 5

AnswerEdit: TypeAlias = Callable[[OutgoingAnswer], object]


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
    """Edit each response of these operations; an empty text means all."""
    return at(Point.ANSWER, operations, edit)


def at(point: Point, operations: str, apply: Callable[..., Any]) -> Edit:
    """Make an edit at a point; without ``operations``, on every operation."""
    return Edit(point=point, operations=frozenset(operations.split()), apply=apply)


def where(is_meant: Callable[[OutgoingAnswer], object], edit: AnswerEdit) -> AnswerEdit:
    """Edit only responses that ``is_meant`` selects."""
    return lambda answer: edit(answer) if is_meant(answer) else None


def without(path: str) -> AnswerEdit:
    """Remove a member."""
    return for_each(path, lambda holder, name: holder.pop(name, None))


def with_value(path: str, value: object) -> AnswerEdit:
    """Give a member this value."""
    return for_each(path, lambda holder, name: holder.update({name: value}))


def changed(path: str, change: Callable[[Any], Any]) -> AnswerEdit:
    """Change the value of a member; a missing member stays missing."""
    return for_each(
        path, lambda holder, name: holder.update({name: change(holder[name])} if name in holder else {})
    )


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


def with_body(make: Callable[[Any], Any]) -> AnswerEdit:
    """Answer with another body, made from the handler's."""

    def apply(answer: OutgoingAnswer) -> None:
        answer.body = make(answer.body)

    return apply


def with_status(status: int) -> AnswerEdit:
    """Answer with another status."""

    def apply(answer: OutgoingAnswer) -> None:
        answer.status = status

    return apply


def with_header(name: str, change: Callable[[str], str | None]) -> AnswerEdit:
    """Change the value of a header; remove the header if the new value is None."""

    def apply(answer: OutgoingAnswer) -> None:
        value = change(answer.headers[name]) if name in answer.headers else None
        if value is None:
            answer.headers.pop(name, None)
        else:
            answer.headers[name] = value

    return apply


def of_type(media_type: str) -> AnswerEdit:
    """Declare another media type."""
    return with_header("content-type", lambda _: media_type)


def sent_as(content: bytes, media_type: str | None, *, status: int = 200) -> AnswerEdit:
    """Send these bytes."""

    def apply(answer: OutgoingAnswer) -> None:
        answer.status = status
        answer.send_as(content, media_type)

    return apply


def refused(status: int, code: str, error: str | None = None, **context: Any) -> AnswerEdit:
    """Refuse; without ``error``, with the text of the handler's refusal."""
    return lambda answer: answer.refuse(
        status, code, answer.body["error"] if error is None else error, **context
    )


def defect(answer: OutgoingAnswer) -> None:
    """Answer with a 500, like a server with a defect."""
    answer.refuse(500, "INTERNAL_ERROR", "Something went wrong.")


Handler: TypeAlias = Callable[[HandlerCall], Awaitable[Response]]


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
        return await handle(replace(call, key=last_key[operation]))

    return at(Point.HANDLER, operation, handle_for_the_last)
