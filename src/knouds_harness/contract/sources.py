"""Where a statement about the API comes from, and the numbered statements themselves."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Source(StrEnum):
    """Who says so.

    Attributes:
        OVERVIEW: The overview page; it wins where sources disagree.
        DOCS: Another public reference page.
        ASSUMED: No source; a choice of this project. A mismatch with it is never a breach.
        USER: Tests and checks of the user's own; never the document.
    """

    OVERVIEW = "overview"
    DOCS = "docs"
    ASSUMED = "assumed"
    USER = "user"


DOCUMENT_SOURCES: Final = (Source.OVERVIEW, Source.DOCS, Source.ASSUMED)
"""Those that the document may name."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One promise of the API that can be observed over HTTP.

    Attributes:
        id: Such as ``auth.revoked-key-is-401``; stands in waivers, faults and reports.
        says: The promise in one sentence.
        source: Who states it.
        conflict: What the losing source says instead, where sources disagree.
    """

    id: str
    says: str
    source: Source
    conflict: str | None = None
