"""Names of workflows that a run creates: each has a token that nobody else uses."""

from __future__ import annotations

import re
import uuid
from typing import Final

from knouds_harness.exchange.evidence import JSON, parsed_json

_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)


def fresh_token() -> str:
    """What makes a name ours."""
    return uuid.uuid4().hex[:12]


def name_with(token: str, words: str) -> str:
    """A workflow's name whose slug nobody holds; letters, digits and single spaces only, as the words are."""
    return f"Harness {token} {words}"


def fresh_name(words: str) -> str:
    """A workflow's name with a token of its own."""
    return name_with(fresh_token(), words)


def marked(document: JSON) -> JSON:
    """A document as it is, with a token in its name; where that is no usable name, in the description."""
    if not isinstance(document, dict):
        return document
    name = document.get("name")
    if isinstance(name, str) and name.strip():
        return {**document, "name": fresh_name(name)}
    return {"description": fresh_name("to be refused"), **document}


def token_of(body: JSON) -> str:
    """The token in what is sent to create a workflow; empty where there is none."""
    return mark_of(body)[2]


def mark_of(body: JSON) -> tuple[str, str, str]:
    """The member that has a token, all of it, and the token; empty where there is none."""
    sent = parsed_json(body)[0] if isinstance(body, bytes) else body
    for member in ("name", "description"):
        text = sent.get(member) if isinstance(sent, dict) else None
        found = _TOKEN.search(text) if isinstance(text, str) else None
        if found:
            return member, str(text), found[1].lower()
    found = _TOKEN.search(body.decode("utf-8", "replace")) if isinstance(body, bytes) else None
    return "", "", found[1].lower() if found else ""
