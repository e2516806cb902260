"""Changes to an answer as a whole: what it is written in, and with which status it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mutants.mutant import Label, Mutant, answering, encoded, with_header, without_header

from knouds_harness.exchange.recordings.recording import Recording

_NO_JSON = (
    ("write HTML", b"<!doctype html><title>Oops</title>"),
    ("write plain text", b"ok"),
    ("empty the body", b""),
    ("write NaN", b'{"a": NaN}'),
    ("write invalid UTF-8", b'{"a": "\xff\xfe"}'),
)
_NOT_OBJECTS = (
    ("write an array", [1]),
    ("write a text", "text"),
    ("write null", None),
    ("write a number", 7),
)
_JSON_OBJECT = ("ground.responses-are-json-objects", "envelope.error-is-object")
_DECLARED = "ground.json-content-type"
_WITH_DOCUMENTED_SUCCESS = frozenset(
    {
        "getWhoami",
        "listWorkflows",
        "getWorkflow",
        "getWorkflowSchema",
        "runWorkflow",
        "runModel",
        "getExecution",
    }
)


def wrong_notation(recording: Recording) -> Iterator[Mutant]:
    """An answer is a JSON object, whole, and declared as JSON."""
    if recording.kind != "answer":
        return
    exchange = recording.exchange
    body = exchange.json_or_none()
    facts = _facts_of_root(recording)
    for operator, text in (*_NO_JSON, ("cut it short", exchange.body[: len(exchange.body) // 2])):
        yield _breach(operator, answering(recording, body=text), *facts)
    for operator, value in _NOT_OBJECTS:
        may_be_array = isinstance(body, list) or recording.operation == "listUsageModels"
        if not (may_be_array and isinstance(value, list)):
            yield _breach(operator, answering(recording, body=encoded(value)), *facts)
    for declared in ("text/html", "text/plain; charset=utf-8", "application/octet-stream"):
        headers = with_header(exchange.headers, "content-type", declared)
        changed = answering(recording, headers=headers)
        yield _breach("declare another type", changed, _DECLARED, place=declared)
    undeclared = answering(recording, headers=without_header(exchange.headers, "content-type"))
    yield _breach("declare no type", undeclared, _DECLARED)


def same_notation(recording: Recording) -> Iterator[Mutant]:
    """How JSON is laid out is nobody's business, nor is what else the headers say."""
    if recording.kind != "answer":
        return
    exchange = recording.exchange
    body = exchange.json_or_none()
    for declared in ("application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"):
        headers = with_header(exchange.headers, "Content-Type", declared)
        yield _same("declare JSON in other words", answering(recording, headers=headers), place=declared)
    shouted = tuple((name.upper(), value) for name, value in exchange.headers)
    yield _same("write header names in capitals", answering(recording, headers=shouted))
    for name in ("x-new-header", "server-timing", "x-request-id"):
        added = answering(recording, headers=(*exchange.headers, (name, "7")))
        yield _same("add a header", added, label=Label.ADDITIVE, place=name)
    laid_out = json.dumps(body, indent=4, ensure_ascii=True).encode()
    yield _same("indent it and escape what is not ASCII", answering(recording, body=laid_out))
    if isinstance(body, dict):
        turned = dict(reversed(body.items()))
        yield _same("turn its members round", answering(recording, body=encoded(turned)))


def statuses(recording: Recording) -> Iterator[Mutant]:
    """A success comes with a status that says so, and the server never breaks down."""
    status = recording.exchange.status or 0
    if recording.kind != "answer":
        return
    for broken in (500, 502, 503):
        crash = encoded({"error": "Something broke.", "code": "INTERNAL"})
        yield Mutant(
            recording=answering(recording, status=broken, body=crash),
            operator="break down",
            place=str(broken),
            label=Label.BREACH,
            facts=("ground.no-undocumented-server-error",),
        )
    if status < 400 and recording.operation in _WITH_DOCUMENTED_SUCCESS:
        for other in (203, 206, 302):
            yield Mutant(
                recording=answering(recording, status=other),
                operator="answer with another status",
                place=str(other),
                label=Label.BREACH,
                facts=("ground.status-is-documented",),
            )


def either_of_two(recording: Recording) -> Iterator[Mutant]:
    """What the sources leave open may be answered either way."""
    body = recording.exchange.json_or_none()
    twin = {"createWorkflow": {200: 201, 201: 200}}.get(recording.operation, {})
    if isinstance(body, dict) and "_async" in body:
        twin = {200: 202, 202: 200}
    if recording.exchange.status in twin:
        yield Mutant(
            recording=answering(recording, status=twin[recording.exchange.status]),
            operator="answer with the other status",
            label=Label.EQUIVALENT,
        )
    if recording.operation == "listUsageModels" and isinstance(body, dict) and "models" in body:
        yield Mutant(
            recording=answering(recording, body=encoded(body["models"])),
            operator="unwrap the list",
            label=Label.EQUIVALENT,
        )


def _facts_of_root(recording: Recording) -> tuple[str, ...]:
    if recording.operation == "listWorkflows" and (recording.exchange.status or 500) < 400:
        return ("workflows.list-is-array", *_JSON_OBJECT)
    return _JSON_OBJECT


def _breach(operator: str, changed: Recording, *facts: str, place: str = "") -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=Label.BREACH, facts=facts)


def _same(operator: str, changed: Recording, *, label: Label = Label.EQUIVALENT, place: str = "") -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=label)
