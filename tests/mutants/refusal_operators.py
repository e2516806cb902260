"""Changes to refusals: their envelope, status and code, and further members."""

from collections.abc import Iterator
from typing import Any, Final

from mutants.mutant import Label, Mutant, answering, breach, breaks, keeps, with_header, without_header
from mutants.promised_refusals import STATUS_BY_CODE, refusal_of

from knouds_harness.exchange.recording import Recording

_HAS_CODE = (
    "envelope.error-has-code",
    "envelope.plain-401-has-code",
    "envelope.unknown-workflow-404-has-code",
)
_NO_TEXTS: Final[tuple[object, ...]] = (None, 7, "", [], {}, True)
_NO_NAMES: Final[tuple[object, ...]] = ("", [], None, 7, "nothing:known", ["nothing:known"])
_NO_FIELDS: Final[tuple[object, ...]] = (None, [], "soon")
_OTHER_STATUSES = (200, 400, 401, 402, 403, 404, 418, 422, 429)
_SHOWN_BY_STATUS = (
    *("ground.status-is-documented", "auth.key-in-x-api-key", "auth.public-operations-need-no-key"),
    "rate.refusal-headers",
)
_FIELDS = ("rate.refusal-fields", "rate.body-and-headers-agree")
_HEADERS = ("rate.refusal-headers", "rate.body-and-headers-agree", "rate.headers-are-integers")


def envelopes(recording: Recording) -> Iterator[Mutant]:
    """``error`` and ``code`` must be non-empty strings."""
    body = _refused(recording)
    if body is None:
        return
    for name, facts in (("error", ("envelope.error-has-text",)), ("code", _HAS_CODE)):
        for operator, changed in (
            ("drop", {key: value for key, value in body.items() if key != name}),
            *((f"write {value!r}", {**body, name: value}) for value in _NO_TEXTS),
            ("rename", {f"{name}s" if key == name else key: value for key, value in body.items()}),
        ):
            yield breaks(recording, operator, changed, *facts, place=f"/{name}")
    wrapped = {"error": {"message": body["error"], "code": body["code"]}}
    yield breaks(recording, "wrap it", wrapped, "envelope.error-has-text", *_HAS_CODE)
    yield keeps(recording, "say it in other words", {**body, "error": "Sorry."})
    yield keeps(recording, "add a member", {**body, "docs": "https://docs.example"}, label=Label.ADDITIVE)
    yield keeps(recording, "add an object", {**body, "details": [{"field": "x"}]}, label=Label.ADDITIVE)


def causes(recording: Recording) -> Iterator[Mutant]:
    """Status and code must be those documented for the cause."""
    body = _refused(recording)
    refusal = refusal_of(recording.operation, recording.outcome)
    if body is None or not refusal.facts:
        return
    facts = (*refusal.facts, "envelope.code-fits-status")
    for status in _OTHER_STATUSES:
        if status not in (refusal.status, *refusal.open):
            changed = answering(recording, status=status)
            yield breach(changed, "refuse with another status", *facts, *_SHOWN_BY_STATUS, place=str(status))
    for code, status in STATUS_BY_CODE.items():
        if code == body["code"] or code in refusal.open:
            continue
        if refusal.code or status != refusal.status:
            also = ("capability.exact-is-admitted",) if code == "CAPABILITY_DENIED" else ()
            yield breaks(recording, "name another cause", {**body, "code": code}, *facts, *also, place=code)
    invented = {**body, "code": "SOMETHING_ELSE"}
    if not refusal.code:
        yield keeps(recording, "invent a code", invented)
    elif refusal.code != "CAPABILITY_DENIED" or not recording.exchange.request.path_values:
        # what is somebody else's may be a 403 too, with any code, and whose it is is not recorded
        for code in (_other_case(refusal.code), f"{refusal.code}_", "SOMETHING_ELSE"):
            yield breaks(recording, "invent a code", {**body, "code": code}, *facts, place=code)


def denials(recording: Recording) -> Iterator[Mutant]:
    """A denial must name what would have been enough, as a string or a list."""
    body = _refused(recording)
    if body is None or body["code"] != "CAPABILITY_DENIED":
        return
    named = "capability.denied-names-required"
    without = {key: value for key, value in body.items() if key != "required"}
    yield breaks(recording, "drop", without, named, place="/required")
    for value in _NO_NAMES:
        changed = {**body, "required": value}
        yield breaks(
            recording, f"write {value!r}", changed, named, "capability.required-form", place="/required"
        )
    required = body["required"]
    as_list = required if isinstance(required, list) else [required]
    for form in (as_list, as_list[0]):
        changed = {**body, "required": form}
        yield keeps(recording, f"write {form!r}", changed, place="/required")


def throttlings(recording: Recording) -> Iterator[Mutant]:
    """A 429 must say the tier, limit and wait, in body and headers, and both must agree."""
    body = _refused(recording)
    if body is None or recording.exchange.status != 429:
        return
    for name in ("tier", "limit", "retryAfter"):
        without = {key: value for key, value in body.items() if key != name}
        yield breaks(recording, "drop", without, *_FIELDS, place=f"/{name}")
        for value in _NO_FIELDS:
            if not (name == "tier" and value == "soon"):
                changed = {**body, name: value}
                yield breaks(recording, f"write {value!r}", changed, *_FIELDS, place=f"/{name}")
    wait_s, limit = body["retryAfter"], body["limit"]
    for operator, changed in (
        ("count in milliseconds", {**body, "retryAfter": wait_s * 1000}),
        ("say less than the header", {**body, "retryAfter": wait_s - 5}),
        ("say another limit", {**body, "limit": limit + 1}),
    ):
        yield breaks(
            recording, operator, changed, *_FIELDS, "rate.window-is-fixed-60-s", "tier.rate-limit-pro"
        )
    headers = recording.exchange.headers
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"):
        yield _header_breach(recording, "drop the header", name, None, *_HEADERS)
        for value in ("soon", "1.5", "", "Wed, 25 Nov 2026 17:15:01 GMT"):
            yield _header_breach(recording, f"write {value!r}", name, value, *_HEADERS)
    reset = dict(headers)["x-ratelimit-reset"]
    yield _header_breach(recording, "count in milliseconds", "x-ratelimit-reset", f"{reset}000", *_HEADERS)
    yield _header_breach(
        recording, "count in milliseconds", "retry-after", str(wait_s * 1000), *_HEADERS, *_FIELDS
    )
    yield _header_breach(
        recording, "say another limit", "x-ratelimit-limit", str(limit - 1), *_HEADERS, "tier.rate-limit-pro"
    )


def limits(recording: Recording) -> Iterator[Mutant]:
    """A success of a limited account must have the three headers, with whole numbers and unix seconds."""
    headers = dict(recording.exchange.headers)
    is_success = (recording.exchange.status or 500) < 400
    if recording.kind != "answer" or not is_success or "x-ratelimit-limit" not in headers:
        return
    facts = ("rate.headers-on-success", "rate.headers-are-integers")
    is_limited = "schemas.limited-run-headers" in recording.checks
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"):
        if is_limited:
            yield _header_breach(recording, "drop the header", name, None, *facts)
        for value in ("1.5", "many", "", *(("-1", "unlimited") if is_limited else ())):
            yield _header_breach(recording, f"write {value!r}", name, value, *facts)
    reset = headers["x-ratelimit-reset"]
    for value in (f"{reset}000", "2026-11-25T17:15:56Z"):
        yield _header_breach(recording, f"write {value!r}", "x-ratelimit-reset", value, *facts)


def _refused(recording: Recording) -> dict[str, Any] | None:
    body = recording.exchange.json_or_none()
    is_refusal = recording.kind == "answer" and (recording.exchange.status or 0) >= 400
    return body if is_refusal and isinstance(body, dict) else None


def _other_case(code: str) -> str:
    return code.lower() if code.isupper() else code.upper()


def _header_breach(recording: Recording, operator: str, name: str, value: str | None, *facts: str) -> Mutant:
    headers = recording.exchange.headers
    changed = without_header(headers, name) if value is None else with_header(headers, name, value)
    return breach(answering(recording, headers=changed), operator, *facts, place=name)
