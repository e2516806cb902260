"""Substituting what a target gives when a sequence is sent again for what it gave in the run."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from knouds_harness.exchange.evidence import JSON, Exchange, Request
from knouds_harness.exchange.execution_status import body_of

GIVES_NAMES: Final = ("slug", "executionId", "account")
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


def with_members_of_now(request: Request, answered: Iterable[tuple[Exchange, Exchange]]) -> Request:
    """The request, where its body repeats members of an answer of the run, with those of the answer of now.

    A document that was read and sent back is the one that the target shows now: what was wrong with it in the
    run may be right by now.
    """
    try:
        sent = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        return request
    if not isinstance(sent, dict):
        return request
    now = dict(sent)
    for before, after in answered:
        then, here = body_of(before), body_of(after)
        now |= {name: here[name] for name in sent.keys() & here.keys() if sent[name] == then.get(name)}
    return request if now == sent else replace(request, body=json.dumps(now).encode())


def value_at(document: JSON, pointer: str) -> JSON:
    """What stands at a JSON pointer; None where nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document
