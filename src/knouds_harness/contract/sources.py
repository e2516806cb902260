"""The facts, which are the promises of the API, and the sources that they come from."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Where a fact, or another statement about the API, comes from.

    Attributes:
        OVERVIEW: The overview page; it wins if sources disagree.
        DOCS: Another public reference page.
        ASSUMED: No source; a choice of this project. A mismatch with it is never a breach.
        USER: The user's own tests and checks; never the document.
    """

    OVERVIEW = "overview"
    DOCS = "docs"
    ASSUMED = "assumed"
    USER = "user"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One promise of the API that can be observed over HTTP.

    Attributes:
        id: Such as ``auth.revoked-key-is-401``; waivers, faults and reports name it.
        says: The promise in one sentence.
        source: Who states it.
        conflict: What the losing source says instead, if sources disagree.
    """

    id: str
    says: str
    source: Source
    conflict: str | None = None
