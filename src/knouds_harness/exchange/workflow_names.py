"""Names of the workflows that a run creates; each has a unique token."""

import re
import uuid
from dataclasses import dataclass
from typing import Final, Self

from knouds_harness.exchange.evidence import JSON, parsed_json

_MOST_TEXT: Final = 200
_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)


def fresh_token() -> str:
    """Return a new token, which marks a name as ours."""
    return uuid.uuid4().hex[:12]


def name_with(token: str, words: str) -> str:
    """Return a workflow's name with an unused slug; ``words`` are letters, digits and single spaces."""
    return f"Harness {token} {words}"


def fresh_name(words: str) -> str:
    """Return a workflow's name with a new token."""
    return name_with(fresh_token(), words)


def marked(document: JSON) -> JSON:
    """Return a document with a token in its name, or in the description if the name is unusable."""
    if not isinstance(document, dict):
        return document
    name = document.get("name")
    if isinstance(name, str) and name.strip():
        return {**document, "name": fresh_name(name)}
    return {"description": fresh_name("to be refused"), **document}


@dataclass(frozen=True, kw_only=True)
class SentName:
    """Identifies the workflow that a creation made, by what was sent.

    Attributes:
        token: The token that was sent; if empty, nothing can prove that the workflow is ours.
        member: The member of the document that has the token.
        text: The value of that member, or its beginning.
        is_beginning: Whether ``text`` is a beginning: of a long value, or of all names of a load run.
    """

    token: str = ""
    member: str = ""
    text: str = ""
    is_beginning: bool = False

    @classmethod
    def of(cls, body: JSON) -> Self:
        """Return the mark of a body that creates a workflow, given as JSON or as bytes."""
        sent = parsed_json(body)[0] if isinstance(body, bytes) else body
        for member in ("name", "description"):
            text = sent.get(member) if isinstance(sent, dict) else None
            found = _TOKEN.search(text) if isinstance(text, str) else None
            if isinstance(text, str) and found:
                token, is_long = found[1].lower(), len(text) > _MOST_TEXT
                return cls(token=token, member=member, text=text[:_MOST_TEXT], is_beginning=is_long)
        found = _TOKEN.search(body.decode("utf-8", "replace")) if isinstance(body, bytes) else None
        return cls(token=found[1].lower() if found else "")

    def is_shown_by(self, document: JSON) -> bool:
        """Return whether a document, or its summary in a list, shows what was sent."""
        shown = document.get(self.member) if isinstance(document, dict) and self.member else None
        return isinstance(shown, str) and (
            shown.startswith(self.text) if self.is_beginning else shown == self.text
        )
