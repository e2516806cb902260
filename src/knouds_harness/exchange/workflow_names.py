"""Names of the workflows that a run creates; each has a unique token."""

import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from knouds_harness.exchange.evidence import JSON, parsed_json

_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)
_MEMBERS: Final = ("name", "description")
_TEXT_OF: Final = {each: re.compile(rf'"{each}"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL) for each in _MEMBERS}


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
    named = with_marked_name(document)
    is_marked = named is not document or not isinstance(document, dict)
    return named if is_marked else {"description": fresh_name("to be refused"), **document}


def with_marked_name(document: JSON) -> JSON:
    """Return a document with a token in its name, if it has a usable one."""
    name = document.get("name") if isinstance(document, dict) else None
    return {**document, "name": fresh_name(name)} if isinstance(name, str) and name.strip() else document


def as_stored(text: str) -> str:
    """Return a text without what a server may change: it may trim it, or compose characters."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


@dataclass(frozen=True, kw_only=True)
class SentName:
    """Identifies the workflow that a creation made, by what was sent.

    Attributes:
        token: The token that was sent; if empty, nothing can prove that the workflow is ours.
        member: The member of the document that has the token.
        text: The value of that member, or its beginning.
        is_beginning: Whether ``text`` is the beginning of all names of a load run.
    """

    token: str = ""
    member: str = ""
    text: str = ""
    is_beginning: bool = False

    @classmethod
    def of(cls, body: JSON) -> Self:
        """Return the mark of a body that creates a workflow, given as JSON or as bytes.

        Bytes may be anything: what the harness does not read as JSON, a server may.
        """
        for member, text in _texts_of(body):
            if found := _TOKEN.search(text):
                return cls(token=found[1].lower(), member=member, text=text)
        found = _TOKEN.search(body.decode("utf-8", "replace")) if isinstance(body, bytes) else None
        return cls(token=found[1].lower() if found else "")

    @classmethod
    def of_event(cls, event: Mapping[str, JSON]) -> Self:
        """Return the mark that a line of a ledger holds; without a token in its text, it proves nothing."""
        member = event.get("member")
        sent = cls.of({member: event.get("text")} if member in _MEMBERS else None)
        return replace(sent, is_beginning=event.get("is_beginning") is True)

    def is_shown_by(self, document: JSON) -> bool:
        """Return whether a document, or its summary in a list, shows what was sent."""
        shown = document.get(self.member) if isinstance(document, dict) and self.member else None
        if not isinstance(shown, str) or not self.token:
            return False
        shown, sent = as_stored(shown), as_stored(self.text)
        return shown.startswith(sent) if self.is_beginning else shown == sent


def _texts_of(body: JSON) -> Iterator[tuple[str, str]]:
    """Yield the members that can hold a token, with their texts."""
    sent = parsed_json(body)[0] if isinstance(body, bytes) else body
    if isinstance(sent, dict):
        yield from ((each, sent[each]) for each in _MEMBERS if isinstance(sent.get(each), str))
    elif isinstance(body, bytes):
        text = body.decode("utf-8", "replace")
        for member, pattern in _TEXT_OF.items():
            values = (parsed_json(found[1].encode())[0] for found in pattern.finditer(text))
            yield from ((member, value) for value in values if isinstance(value, str))
