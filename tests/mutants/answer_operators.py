"""Changes to a response as a whole: its notation and its status."""

import json
from collections.abc import Iterator

from mutants.mutant import (
    Label,
    Mutant,
    answering,
    breach,
    breaks,
    encoded,
    keeps,
    no_breach,
    with_header,
    without_header,
)

from knouds_harness.exchange.recording import Recording

_NO_JSON = (
    ("write HTML", b"<!doctype html><title>Oops</title>"),
    ("write plain text", b"ok"),
    ("empty the body", b""),
    ("write NaN", b'{"a": NaN}'),
    ("write invalid UTF-8", b'{"a": "\xff\xfe"}'),
)
_NOT_OBJECTS = (("an array", [1]), ("a text", "text"), ("null", None), ("a number", 7))
_JSON_OBJECT = ("ground.responses-are-json-objects", "envelope.error-is-object")
_DECLARED = "ground.json-content-type"
_WITH_DOCUMENTED_SUCCESS = (
    *("getWhoami", "listWorkflows", "getWorkflow", "getWorkflowSchema", "runWorkflow", "runModel"),
    "getExecution",
)


def wrong_notation(recording: Recording) -> Iterator[Mutant]:
    """Breaches: a response must be a complete JSON object, declared as JSON."""
    if recording.kind != "answer":
        return
    exchange = recording.exchange
    body = exchange.json_or_none()
    facts = _facts_of_root(recording)
    for operator, text in (*_NO_JSON, ("cut it short", exchange.body[: len(exchange.body) // 2])):
        yield breach(answering(recording, body=text), operator, *facts)
    for kind, value in _NOT_OBJECTS:
        may_be_array = isinstance(body, list) or recording.operation == "listUsageModels"
        if not (may_be_array and isinstance(value, list)):
            yield breaks(recording, f"write {kind}", value, *facts)
    for declared in ("text/html", "text/plain; charset=utf-8", "application/octet-stream"):
        headers = with_header(exchange.headers, "content-type", declared)
        changed = answering(recording, headers=headers)
        yield breach(changed, "declare another type", _DECLARED, place=declared)
    undeclared = answering(recording, headers=without_header(exchange.headers, "content-type"))
    yield breach(undeclared, "declare no type", _DECLARED)


def same_notation(recording: Recording) -> Iterator[Mutant]:
    """Equivalent: the layout of JSON, and other parts of the headers, are open."""
    if recording.kind != "answer":
        return
    exchange = recording.exchange
    body = exchange.json_or_none()
    for declared in ("application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"):
        headers = with_header(exchange.headers, "Content-Type", declared)
        yield no_breach(answering(recording, headers=headers), "declare JSON in other words", place=declared)
    shouted = tuple((name.upper(), value) for name, value in exchange.headers)
    yield no_breach(answering(recording, headers=shouted), "write header names in capitals")
    for name in ("x-new-header", "server-timing", "x-request-id"):
        added = answering(recording, headers=(*exchange.headers, (name, "7")))
        yield no_breach(added, "add a header", label=Label.ADDITIVE, place=name)
    laid_out = json.dumps(body, indent=4, ensure_ascii=True).encode()
    yield no_breach(answering(recording, body=laid_out), "indent it and escape what is not ASCII")
    if isinstance(body, dict):
        yield keeps(recording, "turn its members round", dict(reversed(body.items())))


def statuses(recording: Recording) -> Iterator[Mutant]:
    """Breaches: a success must have a success status, and the server must not fail."""
    status = recording.exchange.status or 0
    if recording.kind != "answer":
        return
    for broken in (500, 502, 503):
        crash = encoded({"error": "Something broke.", "code": "INTERNAL"})
        changed = answering(recording, status=broken, body=crash)
        yield breach(changed, "break down", "ground.no-undocumented-server-error", place=str(broken))
    if status < 400 and recording.operation in _WITH_DOCUMENTED_SUCCESS:
        for other in (203, 206, 302):
            changed = answering(recording, status=other)
            operator = "answer with another status"
            yield breach(changed, operator, "ground.status-is-documented", place=str(other))


def either_of_two(recording: Recording) -> Iterator[Mutant]:
    """Equivalent: either response, where the sources leave it open."""
    body = recording.exchange.json_or_none()
    twin = {"createWorkflow": {200: 201, 201: 200}}.get(recording.operation, {})
    if isinstance(body, dict) and "_async" in body:
        twin = {200: 202, 202: 200}
    if recording.exchange.status in twin:
        changed = answering(recording, status=twin[recording.exchange.status])
        yield no_breach(changed, "answer with the other status")
    if recording.operation == "listUsageModels" and isinstance(body, dict) and "models" in body:
        yield keeps(recording, "unwrap the list", body["models"])


def _facts_of_root(recording: Recording) -> tuple[str, ...]:
    if recording.operation == "listWorkflows" and (recording.exchange.status or 500) < 400:
        return ("workflows.list-is-array", *_JSON_OBJECT)
    return _JSON_OBJECT
