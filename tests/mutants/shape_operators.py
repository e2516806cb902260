"""Changes to the body of a success: members missing, of another type, outside of a closed set, or new."""

from collections.abc import Iterator

from mutants.mutant import Label, Mutant, breaks, keeps
from mutants.places import Steps, dropped, objects, places, pointer, replaced, value_at
from mutants.promises import Kind, Member, members_of

from knouds_harness.exchange.recording import Recording

_OF_KIND: dict[Kind, object] = {
    "string": "text",
    "number": 1.5,
    "integer": 7,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}
_WRONG_TEXTS: dict[str, tuple[str, ...]] = {
    "uuid": ("7", "98983edbff07", "98983edb-ff07-4328-85d4-8b62a29dc03g"),
    "instant": ("yesterday", "25.11.2026 17:14", "1795626898"),
    "slug": ("Portrait", "por trait", "por_trait"),
    "url": ("no address", ""),
}
_NEW_VALUE = "something_else"


def shapes(recording: Recording) -> Iterator[Mutant]:
    """What a success of the operation may and may not look like."""
    body = recording.exchange.json_or_none()
    if recording.kind != "answer" or (recording.exchange.status or 500) >= 400 or body is None:
        return
    for member in members_of(recording.operation, body):
        for steps in places(body, member.place):
            for operator, changed, label in _changes(member, steps, body):
                if label is Label.BREACH:
                    yield breaks(recording, operator, changed, *member.facts, place=pointer(steps))
                else:
                    yield keeps(recording, operator, changed, label=label, place=pointer(steps))
    for steps in objects(body):
        more = replaced(body, (*steps, "newMember"), {"new": 1})
        yield keeps(recording, "add a member", more, label=Label.ADDITIVE, place=pointer(steps))


def _changes(member: Member, steps: Steps, body: object) -> Iterator[tuple[str, object, Label]]:
    if not isinstance(steps[-1], int):
        status = value_at(body, (*steps[:-1], "status")) if member.statuses else None
        may_be_missing = member.is_optional or (member.statuses and status not in member.statuses)
        yield "drop", dropped(body, steps), Label.EQUIVALENT if may_be_missing else Label.BREACH
    for kind, value in _other_kinds(member, value_at(body, steps)):
        label = Label.BREACH if member.kinds else Label.EQUIVALENT
        yield f"make it {kind}", replaced(body, steps, value), label
    for text in _WRONG_TEXTS.get(member.form, ()):
        yield f"write {text!r}", replaced(body, steps, text), Label.BREACH
    if member.closed and "string" in member.kinds:
        yield "invent a value", replaced(body, steps, _NEW_VALUE), Label.BREACH
        yield "write it in capitals", replaced(body, steps, str(member.closed[0]).upper()), Label.BREACH
    if member.closed == (True,):
        yield "write false", replaced(body, steps, value=False), Label.BREACH
    if member.is_open:
        yield "invent a value", replaced(body, steps, _NEW_VALUE), Label.ADDITIVE


def _other_kinds(member: Member, value: object) -> Iterator[tuple[Kind | str, object]]:
    if not member.kinds:
        if isinstance(value, str):
            yield "integer", 7
        return
    allowed = {*member.kinds, *(("integer",) if "number" in member.kinds else ())}
    for kind, other in _OF_KIND.items():
        if kind not in allowed and not (kind == "number" and "integer" in allowed and "number" in allowed):
            yield kind, other
    if "number" in allowed or "integer" in allowed:
        yield "a number in quotes", str(value)
    if "boolean" in allowed:
        yield "a boolean in quotes", str(value).lower()
