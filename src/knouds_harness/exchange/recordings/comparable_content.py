"""What two recordings of one outcome are compared by: all but ids, instants and measures.

Two recordings of one outcome, made on different days, have the same substance if nothing changed that a
client could rely on.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from knouds_harness.exchange.evidence import JSON, Pairs, parsed_json
from knouds_harness.exchange.recordings.recording import Recording, as_content

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
_TOKEN: Final = re.compile(r"(?<![\w-])(?=[a-z_-]*\d)[a-z]{2,4}_[0-9A-Za-z-]{8,}")
_MADE: Final = re.compile(r"\b(harness-[a-z-]*[a-z])-\d+\b")  # the name was taken, by how many is chance
_STRANGER: Final = re.compile(r"(\{\{user:|person-)\d+")
_SIGNATURE: Final = re.compile(r"t=\d+,v1=[0-9a-f]{64}")
_MEASURES: Final = frozenset({"ms", "durationMs", "retryAfter", "total", "id", "uptimeS", "uptime"})
_MEASURED_HEADERS: Final = frozenset({"retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"})
_OF_THE_WAY: Final = frozenset({"content-length", "date", "server", "user-agent"})
_NUMBER: Final = "<number>"


def comparable_content(recording: Recording) -> dict[str, Any]:
    """What a client could rely on, as JSON; its keys are those of the file."""
    content = as_content(recording)
    request, response = content["request"], content["response"]
    return {
        **{name: content[name] for name in ("kind", "operation", "outcome", "says", "story", "checks")},
        "facts": content["facts"],
        "contract_version": recording.origin.contract_version,
        "request": {
            **{name: request[name] for name in ("method", "persona", "held", "tier", "action")},
            "path": _text(request["path"]),
            "path_values": {name: _text(value) for name, value in request["path_values"].items()},
            "query": request["query"],
            "sent_headers": _headers(recording.exchange.sent_headers),
            "body": _body(recording.exchange.request.body or b""),
        },
        "response": {
            "status": response["status"],
            "headers": _headers(recording.exchange.headers),
            "body": _body(recording.exchange.body),
        },
    }


def differences(old: Recording, new: Recording) -> Iterator[str]:
    """Lines that say what changed in substance, as ``diff`` writes them; none where nothing did."""
    before, after = (
        json.dumps(comparable_content(each), indent=1, ensure_ascii=False).splitlines() for each in (old, new)
    )
    for line in difflib.unified_diff(before, after, n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line


def _headers(headers: Pairs) -> dict[str, str]:
    return {
        name.lower(): _NUMBER if name.lower() in _MEASURED_HEADERS and value.isdecimal() else _text(value)
        for name, value in headers
        if name.lower() not in _OF_THE_WAY
    }


def _body(body: bytes) -> JSON:
    document, problem = parsed_json(body)
    if problem is not None:
        text = body.decode("utf-8", "replace")
        return _text(text) if len(set(text)) != 1 else f"{len(text)} times {text[0]!r}"
    return _walked(document)


def _walked(value: JSON, name: str = "") -> JSON:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _NUMBER if name in _MEASURES else value
    if isinstance(value, Mapping):
        return {member: _walked(item, member) for member, item in value.items()}
    return [_walked(item, name) for item in value]


def _text(text: str) -> str:
    text = _INSTANT.sub("<instant>", _UUID.sub("<uuid>", text))
    text = _MADE.sub(r"\1", text)
    text = _SIGNATURE.sub("t=<instant>,v1=<digest>", text)
    return _STRANGER.sub(r"\1<number>", _TOKEN.sub("<token>", text))
