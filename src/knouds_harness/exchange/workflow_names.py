"""Names of the workflows that a run creates; each has a unique token."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the help of load imports this module
    from knouds_harness.exchange.evidence import JSON


def fresh_token() -> str:
    """Return a new token, which marks a name as ours."""
    return uuid.uuid4().hex[:12]


def name_with(token: str, words: str) -> str:
    """Return a workflow's name with an unused slug; ``words`` are letters, digits and single spaces."""
    return f"Harness {token} {words}"


def fresh_name(words: str) -> str:
    return name_with(fresh_token(), words)


def marked(document: JSON) -> JSON:
    """Return a document with a token in its name, or in the description if the name is unusable."""
    named = with_marked_name(document)
    is_marked = named is not document or not isinstance(document, dict)
    return named if is_marked else {"description": fresh_name("to be refused"), **document}


def with_marked_name(document: JSON) -> JSON:
    """Return a document with a token in its name, if it has a usable one."""
    name = document.get("name") if isinstance(document, dict) else None
    return {**document, "name": fresh_name(name)} if isinstance(name, str) and name.strip() else document
