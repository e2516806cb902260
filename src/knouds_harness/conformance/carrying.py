"""Carrying on: what a target gives when a sequence is sent again, in place of what it gave in the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from knouds_harness.conformance.statuses import body_of
from knouds_harness.exchange.evidence import JSON, Exchange, Request

GIVES_NAMES: Final = ("slug", "executionId")
"""Members by which an answer names what was made."""


def newly_given(before: Exchange, after: Exchange) -> dict[str, str]:
    """The names that an answer gave in the run, each with the one that it gives now."""
    then, now = body_of(before), body_of(after)
    return {
        then[member]: now[member]
        for member in GIVES_NAMES
        if isinstance(then.get(member), str) and isinstance(now.get(member), str)
    }


def renamed(request: Request, new_by_old: Mapping[str, str]) -> Request:
    """The request with given names in its path and as whole texts in its body."""
    path, body = request.path, request.body
    for old, new in new_by_old.items():
        path = re.sub(rf"/{re.escape(old)}(?=/|$)", lambda _, new=new: f"/{new}", path)  # type: ignore[misc]
        body = body and body.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
    path_values = {name: new_by_old.get(value, value) for name, value in request.path_values.items()}
    return replace(request, path=path, path_values=path_values, body=body)


def value_at(document: JSON, pointer: str) -> JSON:
    """What stands at a JSON pointer; None where nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document
