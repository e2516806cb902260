"""Names of workflows that a run creates: each has a token of its own."""

import re
import uuid
from dataclasses import dataclass
from typing import Final, Self

from knouds_harness.exchange.evidence import JSON, parsed_json

_MOST_TEXT: Final = 200
_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)


def fresh_token() -> str:
    """What makes a name ours."""
    return uuid.uuid4().hex[:12]


def name_with(token: str, words: str) -> str:
    """A workflow's name whose slug is free; letters, digits and single spaces only, as the words are."""
    return f"Harness {token} {words}"


def fresh_name(words: str) -> str:
    """A workflow's name with a token of its own."""
    return name_with(fresh_token(), words)


def marked(document: JSON) -> JSON:
    """A document as it is, with a token in its name; if that is not usable, in the description."""
    if not isinstance(document, dict):
        return document
    name = document.get("name")
    if isinstance(name, str) and name.strip():
        return {**document, "name": fresh_name(name)}
    return {"description": fresh_name("to be refused"), **document}


@dataclass(frozen=True, kw_only=True)
class NameMark:
    """What shows that a workflow is made of what was sent.

    Attributes:
        token: Of what was sent; empty where there is none, and then nothing can prove that it is ours.
        member: Of the document that has the token.
        text: All of that member, or its beginning.
        is_beginning: It is long, or stands for all creates of a load run, whose names begin alike.
    """

    token: str = ""
    member: str = ""
    text: str = ""
    is_beginning: bool = False

    @classmethod
    def of(cls, body: JSON) -> Self:
        """The mark of what is sent to create a workflow, as JSON, or as bytes."""
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
        """Whether a document, or a list's summary of it, shows what was sent."""
        shown = document.get(self.member) if isinstance(document, dict) and self.member else None
        return isinstance(shown, str) and (
            shown.startswith(self.text) if self.is_beginning else shown == self.text
        )
