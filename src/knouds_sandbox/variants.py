"""Variants: correct servers that answer differently from the sandbox where no source says how.

A variant breaks no documented promise, so a harness that finds a breach in one is wrong. Most variants only
change outgoing responses, not what the server does. The open points are listed in
docs/decisions/sandbox-open-points.md.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knouds_sandbox.errors import UnknownName

if TYPE_CHECKING:
    from knouds_sandbox.answers import OutgoingAnswer

_WORKFLOW = re.compile(r"/api/workflows/([^/]+)")
_SLUG = re.compile(r"[a-z0-9-]+")
_NUMBER = re.compile(r"[0-9]{1,15}")
_STATUSES = ("", "processing", "completed", "failed", "cancelled")
_UTC_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z")
_OF_THE_USER = ("data", "position", "values", "result")
_ANSWERS_PER_CONNECTION = 20


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One choice of behaviour for the open points."""

    id: str
    says: str
    change: Callable[[OutgoingAnswer], None] = lambda _: None
    checks_capabilities_last: bool = False


def _terse(answer: OutgoingAnswer) -> None:
    """Answer with the least that a correct server may answer."""
    body = answer.body
    if answer.is_on("POST", "/api/workflows") and answer.status == 201:
        answer.status, answer.body = 200, {"slug": body["slug"]}
    elif answer.is_success and answer.is_on("(PUT|DELETE)", "/api/workflows/.*"):
        answer.body = {}
    elif answer.is_success and answer.is_on("GET", "/api/usage/models"):
        answer.body = body["models"]
    elif answer.is_success and answer.is_on("GET", "/api/workflows"):
        for summary in body:
            if not summary["description"]:
                del summary["description"]
    elif answer.is_success and answer.is_on("GET", "/api/executions/.*"):
        kept = ("executionId", "status", "result", "error")
        answer.body = {name: body[name] for name in kept if name in body}
    elif answer.status == 202:
        answer.status = 200
    elif answer.status == 200 and answer.is_on("POST", "/api/models/[^/]+/run"):
        body.pop("ms", None)
    elif answer.is_success and answer.is_on("GET", "/api/usage"):
        body["page"] -= 1
    elif answer.is_on("GET", "/api/health"):
        answer.body = {"ok": True}
    if answer.status == 403 and isinstance(body, dict) and body.get("code") == "CAPABILITY_DENIED":
        body["required"] = body["required"][0]


def _talkative(answer: OutgoingAnswer) -> None:
    """Add everything that may be added without notice: members, headers and codes of open cases."""
    answer.headers["x-request-id"] = "req-0123456789"
    answer.headers["cache-control"] = "no-store"
    answer.headers["content-type"] = "application/json; charset=utf-8"
    items = answer.body if isinstance(answer.body, list) else [answer.body]
    for item in items:
        for members in item.values() if isinstance(item, dict) else ():
            for member in members if isinstance(members, list) else [members]:
                _add_member(member)
        _add_member(item)
    if not isinstance(answer.body, dict):
        return
    renamed = {"UNAUTHORIZED": "INVALID_API_KEY", "NOT_FOUND": "RESOURCE_NOT_FOUND"}
    if answer.status >= 400:
        answer.body["code"] = renamed.get(answer.body["code"], answer.body["code"])
        answer.body["docs"] = "https://docs.example.com/errors"
    if isinstance(answer.body.get("required"), list):
        answer.body["required"].reverse()
    if answer.status == 201:
        answer.body["warnings"] = []


def _add_member(value: object) -> None:
    if isinstance(value, dict):
        value["addedLater"] = {"since": "4.14"}


def _strict(answer: OutgoingAnswer) -> None:
    """Refuse what a server may ignore, and use other statuses."""
    _refuse_garbled_query(answer)
    slug = _WORKFLOW.match(answer.route.partition(" ")[2])
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 401 and answer.is_on(".*", "/api/(me|credits|api-keys|business/admin).*"):
        answer.refuse(404, "NO_SUCH_ROUTE")
    elif answer.status == 404 and slug and not _SLUG.fullmatch(slug[1]):
        answer.refuse(400, "INVALID_SLUG")
    elif answer.status == 404 and slug and slug[1].startswith("stranger-"):
        answer.refuse(403, "NOT_YOURS")
    elif answer.status == 405:
        answer.refuse(404, "NO_SUCH_ROUTE")
    elif answer.status == 413:
        answer.refuse(400, "TOO_LARGE")
    elif answer.status == 409 and answer.is_on("POST", "/api/executions/[^/]+/cancel"):
        answer.refuse(400, "ALREADY_ENDED")
    elif answer.is_success and answer.is_on("POST", "/api/executions/[^/]+/cancel"):
        answer.status = 202
    elif answer.status == 400 and answer.is_on("(POST|PUT)", "/api/workflows(/[^/]+)?(/move)?"):
        answer.refuse(422, "INVALID_DOCUMENT")
    elif body.get("code") == "WORKFLOW_LIMIT_REACHED":
        answer.refuse(402, "UPGRADE_REQUIRED")
    elif body.get("code") == "FORBIDDEN":
        answer.refuse(404, "NOT_FOUND")


def _refuse_garbled_query(answer: OutgoingAnswer) -> None:
    if not answer.is_on("GET", "/api/usage") or not answer.is_success:
        return
    numbers = [answer.query[name] for name in ("limit", "offset") if name in answer.query]
    is_sound = all(_NUMBER.fullmatch(number) for number in numbers)
    if (
        not is_sound
        or int(answer.query.get("limit") or 0) > 500
        or answer.query.get("status", "") not in _STATUSES
    ):
        answer.refuse(400, "INVALID_QUERY")


def _volatile(answer: OutgoingAnswer) -> None:
    """Vary everything that is not promised from response to response."""
    answer.headers["x-trace-id"] = f"trace-{answer.number}"
    answer.headers["server-timing"] = f"app;dur={answer.number % 7}.5"
    if answer.number % _ANSWERS_PER_CONNECTION == 0:
        answer.headers["connection"] = "close"
    answer.body = _restless(answer.body, answer.number)
    answer.content = _restless_bytes(answer)


def _restless(value: object, number: int, *, is_ours: bool = True) -> object:
    """Return an equivalent value; ``is_ours`` if the server may add members to objects."""
    if isinstance(value, dict):
        names = list(value)
        names = names[number % len(names) :] + names[: number % len(names)] if names else names
        told = {
            name: _restless(value[name], number, is_ours=is_ours and name not in _OF_THE_USER)
            for name in names
        }
        return {"trace": f"trace-{number}", **told, "servedIn": {"ms": number}} if is_ours else told
    if isinstance(value, list):
        return [_restless(each, number, is_ours=is_ours) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return _UTC_TIME.sub(r"\1+00:00", value) if isinstance(value, str) else value


def _restless_bytes(answer: OutgoingAnswer) -> bytes:
    """Return the body with varying whitespace, compressed if the client accepts it."""
    indent = answer.number % 4 or None
    try:
        text = json.dumps(answer.body, indent=indent, ensure_ascii=answer.number % 2 == 0)
        content = f"{text}\n".encode()
    except UnicodeEncodeError:  # a lone surrogate must be escaped
        content = json.dumps(answer.body, indent=indent).encode()
    if not answer.takes_gzip:
        return content
    answer.headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
    return gzip.compress(content)


VARIANTS = (
    Variant(id="terse", says="Answers with the least that the documents allow.", change=_terse),
    Variant(id="talkative", says="Adds members, headers and other codes.", change=_talkative),
    Variant(id="strict", says="Refuses what may be ignored, with other statuses.", change=_strict),
    Variant(id="late", says="Checks capabilities after everything else.", checks_capabilities_last=True),
    Variant(
        id="volatile",
        says="Adds members and headers that differ each time, and writes the same JSON in other ways.",
        change=_volatile,
    ),
)


def find_variant(variant_id: str) -> Variant:
    known = {variant.id: variant for variant in VARIANTS}
    if variant_id not in known:
        raise UnknownName("variant", variant_id, known)
    return known[variant_id]
