"""What choices change in an answer, after the handler."""

import gzip
import json
import random
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from operator import methodcaller
from typing import Any

from knouds_sandbox.answers import AnswerEdit, OutgoingAnswer, answered, where
from knouds_sandbox.bodies import as_unicode, mapped
from knouds_sandbox.legal.points import Choices

_NUMBER = re.compile(r"[0-9]{1,15}")
_STATUSES = ("", "processing", "completed", "failed", "cancelled")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_OF_THE_USER = ("data", "position", "values", "result", "name", "description", "tags")
_OTHER_CODES = {
    "UNAUTHORIZED": "INVALID_API_KEY",
    "NOT_FOUND": "RESOURCE_NOT_FOUND",
    "METHOD_NOT_ALLOWED": "NO_SUCH_METHOD",
    "FORBIDDEN": "NOT_YOURS",
    "EXECUTION_ENDED": "ALREADY_ENDED",
    "WORKFLOW_LIMIT_REACHED": "UPGRADE_REQUIRED",
    "BODY_TOO_LARGE": "TOO_LARGE",
}
_WITH_BAD_SLUG = re.compile(r"[A-Z]+ /api/workflows/[^/]*[^a-z0-9/-][^/]*(/move|/schema|/public-schema)?")
_OPTIONAL = ("description", "tags", "publicPlayground")
_TAKE_DOCUMENTS = ("createWorkflow", "updateWorkflow", "moveWorkflow")
_POLLED = ("executionId", "status", "result", "error")
_FAR_ZONE = timezone(timedelta(hours=5, minutes=30))
_SHOWS_WORKFLOWS = frozenset({"listWorkflows", "getWorkflow", "createWorkflow", "updateWorkflow"})


def changes(choices: Choices) -> list[AnswerEdit]:
    """Return what these choices change in each answer, in order."""
    made = [found for name, by_value in _CHANGES.items() if (found := by_value.get(choices[name]))]
    return [*made, lambda answer: _write(answer, choices)]


def _on(*operations: str, status: int | None = None) -> Callable[[AnswerEdit], AnswerEdit]:

    def is_meant(answer: OutgoingAnswer) -> bool:
        return answer.operation in operations and answer.is_success and status in (None, answer.status)

    return partial(where, is_meant)


def _refused(was: int, is_meant: Callable[[OutgoingAnswer], object], status: int, code: str) -> AnswerEdit:
    refuse = methodcaller("refuse", status, code)
    return where(lambda answer: answer.status == was and is_meant(answer), refuse)


def _with_status(code: str, status: int) -> AnswerEdit:
    return where(lambda answer: answer.code == code, answered(status))


def _needs_a_session(answer: OutgoingAnswer) -> bool:
    return re.match(".* /api/(me|credits|api-keys|business/admin)", answer.route) is not None


def _is_of_another_type(answer: OutgoingAnswer) -> bool:
    declared = answer.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return answer.code == "INVALID_BODY" and declared != "application/json"


def _late_cancel_is_told(answer: OutgoingAnswer) -> None:
    if answer.operation == "cancelExecution" and answer.code == "EXECUTION_ENDED":
        ended = answer.body["error"].rpartition(" ")[2].rstrip(".")
        answer.status, answer.body = 200, {"executionId": answer.path_params["id"], "status": ended}


def _garbled_query(answer: OutgoingAnswer) -> None:
    if answer.operation != "listUsage" or not answer.is_success:
        return
    query = answer.request.query_params
    numbers = [query[name] for name in ("limit", "offset") if name in query]
    if (
        not all(_NUMBER.fullmatch(number) for number in numbers)
        or int(query.get("limit") or 0) > 500
        or query.get("status", "") not in _STATUSES
    ):
        answer.refuse(400, "INVALID_QUERY")


def _required(change: Callable[[list[str]], object]) -> AnswerEdit:
    def apply(answer: OutgoingAnswer) -> None:
        if isinstance(answer.body, dict) and isinstance(answer.body.get("required"), list):
            answer.body["required"] = change(answer.body["required"])

    return apply


def _slug_alone(body: Any) -> Any:
    return {"slug": body["slug"]} if isinstance(body, dict) and "slug" in body else body


def _without_empty(answer: OutgoingAnswer) -> None:
    """Leave out empty members that are optional; of a summary, that is the description alone."""
    is_list = isinstance(answer.body, list)
    for each in answer.body if is_list else [answer.body]:
        for name in ("description",) if is_list else _OPTIONAL:
            if not each.get(name, True):
                del each[name]


def _with_nulls(answer: OutgoingAnswer) -> None:
    for each in answer.body if isinstance(answer.body, list) else [answer.body]:
        if each.get("description") == "":
            each["description"] = None


def _newest_first(answer: OutgoingAnswer) -> None:
    if isinstance(answer.body, list):
        answer.body.sort(key=lambda each: (str(each.get("updatedAt")), str(each.get("slug"))), reverse=True)


def _shuffled(answer: OutgoingAnswer) -> None:
    if isinstance(answer.body, list):
        random.Random(answer.number).shuffle(answer.body)


def _more_members(answer: OutgoingAnswer) -> None:
    """Add what may be added without notice: members at every depth, headers."""
    answer.headers |= {"x-request-id": "req-0123456789", "cache-control": "no-store"}
    _add_members(answer, {}, {"addedLater": {"since": "4.14"}}, but_for=("data", "position"))


def _varying_members(answer: OutgoingAnswer) -> None:
    number = answer.number
    answer.headers |= {"x-trace-id": f"trace-{number}", "server-timing": f"app;dur={number % 7}.5"}
    _add_members(answer, {"trace": f"trace-{number}"}, {"servedIn": {"ms": number}}, but_for=_OF_THE_USER)


def _add_members(
    answer: OutgoingAnswer, first: dict[str, Any], last: dict[str, Any], *, but_for: Collection[str]
) -> None:
    def added(value: Any) -> Any:
        return {**first, **value, **last} if isinstance(value, dict) else value

    answer.body = mapped(answer.body, added, but_for=but_for)


def _times(form: Callable[[datetime], str]) -> AnswerEdit:
    def formed(value: Any) -> Any:
        is_time = isinstance(value, str) and _TIME.fullmatch(value)
        return form(datetime.fromisoformat(value)) if is_time else value

    return answered(make=lambda body: mapped(body, formed, but_for=_OF_THE_USER))


def _doubled(value: Any) -> Any:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and abs(value) < 2**53 else value


def _ordered(order: Callable[[list[str], int], list[str]]) -> AnswerEdit:
    def apply(answer: OutgoingAnswer) -> None:
        def sorted_(value: Any) -> Any:
            is_object = isinstance(value, dict)
            return {name: value[name] for name in order(list(value), answer.number)} if is_object else value

        answer.body = mapped(answer.body, sorted_)

    return apply


def _rotated(names: list[str], number: int) -> list[str]:
    at = number % len(names) if names else 0
    return names[at:] + names[:at]


def _write(answer: OutgoingAnswer, choices: Choices) -> None:
    """Write the body as JSON, with its headers, in the way chosen; a fault's own bytes stay."""
    if answer.content is None and answer.status != 204:
        answer.content = _json(answer.body, choices["json"])
        if choices["gzip"] == "yes" and answer.takes_gzip:
            answer.headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
            answer.content = gzip.compress(answer.content)
        if "content-type" in answer.headers and choices["media-type"] != "plain":
            is_charset = choices["media-type"] == "charset"
            media_type = answer.headers["content-type"]
            answer.headers["content-type"] = (
                f"{media_type}; charset=utf-8" if is_charset else media_type.title()
            )
    if choices["http"] != "keep-alive":
        answer.headers["connection"] = "close"
    answer.is_chunked = choices["body"] == "chunked"
    spelling = {"title": str.title, "upper": str.upper}.get(choices["headers"])
    if spelling:
        answer.headers = {spelling(name): value for name, value in answer.headers.items()}


def _json(body: Any, form: str) -> bytes:
    if form == "compact":
        return json.dumps(body, separators=(",", ":")).encode()
    if form == "unicode":
        return as_unicode(body) or json.dumps(body).encode()
    return json.dumps(body, indent=2).encode() + b"\n"


_CREATED = _on("createWorkflow", status=201)
_CHANGED = _on("updateWorkflow", "moveWorkflow", "deleteWorkflow")
_RICH_HEALTH = {"status": "healthy", "checks": {"database": "up"}}

_CHANGES: Mapping[str, Mapping[str, AnswerEdit]] = {
    "required": {"text": _required(lambda names: names[0]), "reversed": _required(lambda names: names[::-1])},
    "session": {
        "403": _refused(401, _needs_a_session, 403, "SESSION_REQUIRED"),
        "404": _refused(401, _needs_a_session, 404, "NO_SUCH_ROUTE"),
    },
    "bad-slug": {
        "400": _refused(404, lambda answer: _WITH_BAD_SLUG.fullmatch(answer.route), 400, "INVALID_SLUG")
    },
    "document": {
        "422": _refused(400, lambda answer: answer.operation in _TAKE_DOCUMENTS, 422, "INVALID_DOCUMENT")
    },
    "free-cap": {status: _with_status("WORKFLOW_LIMIT_REACHED", int(status)) for status in ("402", "409")},
    "late-cancel": {"400": _with_status("EXECUTION_ENDED", 400), "200": _late_cancel_is_told},
    "method": {"404": _refused(405, lambda _: True, 404, "NO_SUCH_ROUTE")},
    "large": {"400": _with_status("BODY_TOO_LARGE", 400)},
    "type": {"415": _refused(400, _is_of_another_type, 415, "UNSUPPORTED_CONTENT_TYPE")},
    "query": {"refused": _garbled_query},
    "codes": {
        "others": where(
            lambda answer: answer.code in _OTHER_CODES,
            lambda answer: answer.body.update(code=_OTHER_CODES[answer.body["code"]]),
        )
    },
    "create": {
        "200-document": _CREATED(answered(200)),
        "201-slug": _CREATED(answered(make=_slug_alone)),
        "200-slug": _CREATED(answered(200, _slug_alone)),
    },
    "update": {
        "nothing": _CHANGED(answered(make=lambda _: {})),
        "success": _CHANGED(answered(make=lambda _: {"success": True})),
    },
    "submit": {"200": _on("runWorkflow", "runModel", status=202)(answered(200))},
    "cancel": {"202": _on("cancelExecution")(answered(202))},
    "poll": {
        "minimal": _on("getExecution")(
            answered(make=lambda body: {name: body[name] for name in _POLLED if name in body})
        )
    },
    "model-ms": {"left-out": _on("runModel", status=200)(lambda answer: answer.body.pop("ms", None))},
    "page": {"0": _on("listUsage")(lambda answer: answer.body.update(page=answer.body["page"] - 1))},
    "models": {"list": _on("listUsageModels")(answered(make=lambda body: body.get("models", body)))},
    "health": {
        "ok": _on("getHealth")(answered(make=lambda _: {"ok": True})),
        "rich": _on("getHealth")(answered(make=lambda _: _RICH_HEALTH)),
    },
    "empty": {
        "left-out": _on(*_SHOWS_WORKFLOWS)(_without_empty),
        "null": _on(*_SHOWS_WORKFLOWS)(_with_nulls),
    },
    "list": {"newest": _on("listWorkflows")(_newest_first), "shuffled": _on("listWorkflows")(_shuffled)},
    "extra": {"members": _more_members, "varying": _varying_members},
    "times": {
        "seconds": _times(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "microseconds": _times(lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        "offset": _times(lambda at: at.isoformat(timespec="milliseconds")),
        "zone": _times(lambda at: at.astimezone(_FAR_ZONE).isoformat(timespec="milliseconds")),
        "short-offset": _times(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S+0000")),
    },
    "numbers": {"doubles": answered(make=lambda body: mapped(body, _doubled))},
    "members": {"sorted": _ordered(lambda names, _: sorted(names)), "rotated": _ordered(_rotated)},
}
