"""Exchanges made by hand, for tests of what judges them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from knouds_harness.contract.operations import Action
from knouds_harness.exchange.evidence import Exchange, Request


def exchange(
    status: int | None = 200,
    body: Any = None,
    *,
    operation_id: str | None = "getWhoami",
    headers: dict[str, str] | None = None,
    raw: bytes | None = None,
    persona: str | None = "full",
) -> Exchange:
    """An answer to a request that does not matter; ``raw`` wins over ``body``."""
    return Exchange(
        id="x00001",
        request=Request(
            method="GET", path="/api/any", action=Action.READ, operation_id=operation_id, persona=persona
        ),
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
    """A refusal with the documented envelope."""
    body = {"error": "Refused", **({"code": code} if code else {}), **context}
    return exchange(status, body)
