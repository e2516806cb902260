"""Answers under load made by hand: no server, no client."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from knouds_harness.targets.personas import Persona, Secret

RESET_UNIX_S = 1_764_063_060


class Said:
    """What verification asks of a response of any client."""

    def __init__(
        self,
        body: Any = None,
        *,
        status: int = 200,
        path: str = "/api/workflows/portrait/run",
        headers: Mapping[str, str] | None = None,
        elapsed_ms: float = 1.0,
    ) -> None:
        self.status_code = status
        self.url = f"http://127.0.0.1:8080{path}"
        self.headers = {"content-type": "application/json", **(headers or {})}
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.elapsed_ms = elapsed_ms
        self.body = body
        self.raw_body = self.content

    is_strict_json = False

    def json(self) -> Any:
        return json.loads(self.content)


def limited(remaining: int, *, limit: int = 100, reset_unix_s: int = RESET_UNIX_S) -> dict[str, str]:
    """The headers of a rate limit."""
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset_unix_s),
    }


def ran(remaining: int = 99, *, cost: float = 8, reset_unix_s: int = RESET_UNIX_S, **options: Any) -> Said:
    """A run that was answered."""
    body = {"success": True, "result": {"images": ["https://cdn.example.com/1.png"]}, "cost": cost, "ms": 12}
    return Said(body, headers=limited(remaining, reset_unix_s=reset_unix_s), **options)


def throttled(retry_after_s: int = 30, *, reset_unix_s: int = RESET_UNIX_S) -> Said:
    """A run over the limit."""
    body = {
        "error": "Too many.",
        "code": "RATE_LIMIT_EXCEEDED",
        "tier": "pro",
        "limit": 100,
        "retryAfter": retry_after_s,
    }
    headers = {**limited(0, reset_unix_s=reset_unix_s), "retry-after": str(retry_after_s)}
    return Said(body, status=429, headers=headers)


def polled(status: str, execution_id: str = "e-1") -> Said:
    """A poll."""
    return Said({"executionId": execution_id, "status": status}, path=f"/api/executions/{execution_id}")


def submitted(execution_id: str = "e-1") -> Said:
    """An accepted submit."""
    return Said({"_async": True, "executionId": execution_id, "status": "processing"})


def persona(
    name: str = "pro",
    *,
    user: str = "pia",
    tier: str = "pro",
    capabilities: Collection[str] = ("workflow:run", "webhook:receive"),
    **options: Any,
) -> Persona:
    """A key."""
    return Persona(
        name=name,
        secret=Secret(f"knouds_live_{name}", f"key:{name}"),
        capabilities=frozenset(capabilities),
        user=user,
        tier=tier,
        **options,
    )
