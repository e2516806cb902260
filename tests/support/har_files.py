"""HAR files as browsers and proxies write them, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
    """One entry; ``body`` is answered as JSON, and ``content`` wins over it."""
    text = json.dumps(body)
    answered = {"content-type": "application/json", **(headers or {})}
    return {
        "startedDateTime": "2026-11-25T09:30:00.000Z",
        "time": 12.5,
        "request": {
            "method": method,
            "url": url,
            "httpVersion": "http/2.0",
            "headers": [{"name": k, "value": v} for k, v in {":path": "/", **(sent_headers or {})}.items()],
            "queryString": [],
            "cookies": [],
            "headersSize": -1,
            "bodySize": -1,
            **({"postData": post} if post else {}),
        },
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "http/2.0",
            "headers": [{"name": k, "value": v} for k, v in answered.items()],
            "cookies": [],
            "content": content or {"size": len(text), "mimeType": "application/json", "text": text},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 12.5, "receive": 0},
        **members,
    }


def write_har(path: Path, *entries: Any) -> Path:
    """Write a file with these entries."""
    log = {"version": "1.2", "creator": {"name": "WebInspector", "version": "537.36"}, "entries": entries}
    path.write_text(json.dumps({"log": log}), encoding="utf-8")
    return path
