"""Hand-made exchanges and HAR files, for tests of what reads and judges them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from knouds_harness.exchange.evidence import Exchange, Request
from knouds_harness.judging.claim import Check, RuleCheck
from knouds_harness.judging.context import Context
from knouds_harness.judging.engine import claims_of


def exchange(
    status: int | None = 200,
    body: Any = None,
    *,
    operation_id: str | None = "getWhoami",
    headers: dict[str, str] | None = None,
    raw: bytes | None = None,
    persona: str | None = "full",
) -> Exchange:
    """Make a response to an arbitrary request; ``raw`` takes precedence over ``body``."""
    return Exchange(
        id="x00001",
        request=Request(method="GET", path="/api/any", operation_id=operation_id, persona=persona),
        url="http://127.0.0.1/api/any",
        sent_headers=(),
        status=status,
        headers=tuple({"content-type": "application/json", **(headers or {})}.items()),
        body=json.dumps(body).encode() if raw is None else raw,
        started_at=datetime(2026, 11, 25, tzinfo=UTC),
        elapsed_ms=1.0,
        failure=None if status is not None else "the connection was closed",
    )


def refusal(status: int, code: str | None = None, **context: Any) -> Exchange:
    body = {"error": "Refused", **({"code": code} if code else {}), **context}
    return exchange(status, body)


def broken(check: Check[...], answer: Exchange, **known: Any) -> set[str]:
    """Return the facts that an exchange breaks by this check; a reason to refuse is known to apply."""
    if isinstance(check, RuleCheck):
        context = Context(is_ours=False, known=known)
        return {claim.fact for claim in claims_of(check.id, answer, context) or () if not claim.holds}
    return {claim.fact for claim in check.judge(answer, **known) if not claim.holds}


def claimed(check: Check[...], answer: Exchange, **known: Any) -> set[str]:
    """Return the facts about which this check makes a claim."""
    return {claim.fact for claim in check.judge(answer, **known)}


def rows(
    check: Check[...], *rows: tuple[Any, ...], answer: Exchange | None = None, **always: Any
) -> list[tuple[Any, ...]]:
    """Make cases of a check: of each row's answer, the arguments in the check's order, and what is broken.

    That is a set of facts; True stands for the check's only fact, False for none, None for no claim at all.
    Rows have no answer of their own if ``answer`` is given; ``always`` are arguments of all rows.
    """
    names = [name for name in check.given if name not in always]
    cases = []
    for row in rows:
        shown, *given, facts = row if answer is None else (answer, *row)
        if isinstance(facts, bool):
            facts = {*check.facts} if facts else set()
        cases.append((check, shown, always | dict(zip(names, given, strict=True)), facts))
    return cases


def named(table: Mapping[str, list[tuple[Any, ...]]]) -> list[Any]:
    """Return all cases of a table as parameters of a test, called by the promise that they are about."""
    return [
        pytest.param(*case, id=f"{promise} {number}")
        for promise, cases in table.items()
        for number, case in enumerate(cases, 1)
    ]


def assert_breaks(
    check: Check[...], answer: Exchange, known: Mapping[str, Any], facts: set[str] | None
) -> None:
    claims = list(check.judge(answer, **known))
    assert {claim.fact for claim in claims if not claim.holds} == (facts or set())
    assert claims == [] or facts is not None


def entry(
    url: str,
    body: Any = None,
    *,
    method: str = "GET",
    status: int = 200,
    sent_headers: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    post: dict[str, Any] | None = None,
    content: dict[str, Any] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """Make one entry; ``body`` is sent as JSON, and ``content`` takes precedence over it."""
    text = json.dumps(body)
    answered = {"content-type": "application/json", **(headers or {})}
    return {
        "startedDateTime": "2026-11-25T09:30:00.000Z",
        "time": 12.5,
        "request": {
            "method": method,
            "url": url,
            "headers": [{"name": k, "value": v} for k, v in {":path": "/", **(sent_headers or {})}.items()],
            **({"postData": post} if post else {}),
        },
        "response": {
            "status": status,
            "headers": [{"name": k, "value": v} for k, v in answered.items()],
            "content": content or {"size": len(text), "mimeType": "application/json", "text": text},
        },
        **members,
    }


def write_har(path: Path, *entries: Any) -> Path:
    log = {"version": "1.2", "creator": {"name": "WebInspector", "version": "537.36"}, "entries": entries}
    path.write_text(json.dumps({"log": log}), encoding="utf-8")
    return path
