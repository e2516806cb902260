"""The proof that a workflow is ours: it is new, and it has the token or the name that was sent."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from knouds_harness.exchange.evidence import JSON, parsed_json
from knouds_harness.targets.profile import Target

_SLUG: Final = re.compile(r"[a-z0-9-]+")
_TOKEN: Final = re.compile(r"\bHarness ([0-9a-f]{12})\b", re.IGNORECASE)
_MEMBERS: Final = ("name", "description")
_TEXT_OF: Final = {each: re.compile(rf'"{each}"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL) for each in _MEMBERS}


def as_stored(text: str) -> str:
    """Return a text without what a server may change: it may trim it, or compose characters."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


@dataclass(frozen=True, kw_only=True)
class SentName:
    """Identifies the workflow that a creation made, by what was sent.

    Attributes:
        token: The token that was sent; if empty, nothing can prove that the workflow is ours.
        member: The member of the document that has the token.
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
        shown = document.get(self.member) if isinstance(document, dict) and self.member else None
        if not isinstance(shown, str) or not self.token:
            return False
        shown, sent = as_stored(shown), as_stored(self.text)
        return shown.startswith(sent) if self.is_beginning else shown == sent


def _texts_of(body: JSON) -> Iterator[tuple[str, str]]:
    sent = parsed_json(body)[0] if isinstance(body, bytes) else body
    if isinstance(sent, dict):
        yield from ((each, sent[each]) for each in _MEMBERS if isinstance(sent.get(each), str))
    elif isinstance(body, bytes):
        text = body.decode("utf-8", "replace")
        for member, pattern in _TEXT_OF.items():
            values = (parsed_json(found[1].encode())[0] for found in pattern.finditer(text))
            yield from ((member, value) for value in values if isinstance(value, str))


@dataclass(kw_only=True)
class WorkflowProof:
    """Proves which workflows are ours.

    Attributes:
        target: Its profile names workflows that are never ours.
        listed: The slugs that each account had before anything was created; they are never ours either.
    """

    target: Target
    listed: dict[str, frozenset[str]] = field(default_factory=dict)

    def may_be_ours(self, slug: str) -> bool:
        """Return whether the workflow is new, and its path cannot lead to another one."""
        return _SLUG.fullmatch(slug) is not None and not self.is_older(slug)

    def cannot_exist(self, slug: str) -> bool:
        return not _SLUG.fullmatch(slug) and not self.is_older(slug)

    def is_older(self, slug: str) -> bool:
        return slug in self.target.workflows or any(slug in slugs for slugs in self.listed.values())

    def holds(self, slug: str, sent: SentName, user: str | None, shown: Callable[[], JSON]) -> bool:
        """Return whether a slug provably belongs to what was sent; else read what is ``shown`` there."""
        if not self.may_be_ours(slug):
            return False
        if sent.token and sent.token in slug.lower():
            return True
        return user in self.listed and bool(sent.member) and sent.is_shown_by(shown())

    def holds_for(self, slug: str, sent: SentName, user: str | None, document: JSON) -> bool:
        return sent.is_shown_by(document) and self.holds(slug, sent, user, lambda: document)
