"""Whether a target still answers as it was recorded: outcome by outcome, and what that does to clients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from knouds_harness.conformance.claims import answer
from knouds_harness.conformance.drift import Gatherer
from knouds_harness.conformance.recording_plan import Outcome
from knouds_harness.conformance.recording_session import Followed
from knouds_harness.contract.difference import Difference, Kind
from knouds_harness.contract.document import Document
from knouds_harness.contract.sources import Source
from knouds_harness.exchange.recordings import Recording
from knouds_harness.runs.surface import Surface
from knouds_harness.runs.surface_difference import surface_differences


class Standing(StrEnum):
    """How an outcome stands against its recording.

    Attributes:
        SAME: A client sees no difference, apart from ids, instants and measures.
        ADDITIVE: Something is new.
        BREAKING: Something that a client could rely on is gone or otherwise.
        GONE: It cannot be provoked any more: nothing was answered at all.
        NEW: It was never recorded.
        UNTESTED: The profile, or the state of the target, made it impossible.
    """

    SAME = "same"
    ADDITIVE = "additive"
    BREAKING = "breaking"
    GONE = "gone"
    NEW = "new"
    UNTESTED = "untested"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One outcome, then and now.

    Attributes:
        name: Operation and outcome.
        standing: What became of it.
        says: Why, a sentence each.
    """

    name: Outcome
    standing: Standing
    says: tuple[str, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether clients break."""
        return self.standing in (Standing.BREAKING, Standing.GONE)


def compare(
    kept: Mapping[Outcome, Recording], followed: Iterable[Followed], document: Document
) -> list[Compared]:
    """Compare what was recorded with what came of the same recipes now.

    Args:
        kept: The recordings.
        followed: What came of recipes, judged.
        document: Says what may be missing, and what is documented.
    """
    return [_compared(kept.get(each.recipe.name), each, document) for each in followed]


def without_recipe(kept: Mapping[Outcome, Recording], recipes: Collection[Outcome]) -> list[str]:
    """Names of recordings that no recipe provokes, such as captured ones; nobody compares those."""
    return [recording.name for name, recording in kept.items() if name not in recipes]


def _compared(old: Recording | None, followed: Followed, document: Document) -> Compared:
    name, new = followed.recipe.name, followed.recording
    if followed.is_untested:
        return Compared(name=name, standing=Standing.UNTESTED, says=(followed.problem,))
    if old is None:
        problem = (followed.problem,) if followed.problem else ()
        return Compared(name=name, standing=Standing.NEW, says=problem)
    if new is None:
        return Compared(name=name, standing=Standing.GONE, says=(followed.problem,))
    broken = (followed.problem,) if followed.problem.startswith("it breaks a promise") else ()
    breaking, additive = [*broken], list[str]()
    for kind, says in _changes(old, new, document):
        (breaking if kind is Kind.BREAKING else additive).append(says)
    standing = Standing.BREAKING if breaking else Standing.ADDITIVE if additive else Standing.SAME
    return Compared(name=name, standing=standing, says=(*breaking, *additive))


def _changes(old: Recording, new: Recording, document: Document) -> Iterator[tuple[Kind, str]]:
    was, now = old.exchange, new.exchange
    if was.status != now.status:
        yield Kind.BREAKING, f"answered {answer(was)} then and {answer(now)} now"
        return
    if was.code != now.code:
        entry = document.error_codes.get(was.code or "")
        is_assumed = entry is None or entry.source is Source.ASSUMED
        kind = Kind.ADDITIVE if is_assumed else Kind.BREAKING
        yield kind, f"the code was {was.code} and is now {now.code}"
    if _type_of(was.header("content-type")) != _type_of(now.header("content-type")):
        yield (
            Kind.BREAKING,
            f"the content type was {was.header('content-type')} and is now {now.header('content-type')}",
        )
    for difference in surface_differences(_surface(old, document), _surface(new, document), document):
        if difference.kind is not Kind.UNKNOWN and not difference.place.endswith("/code"):
            yield difference.kind, _said(difference)


def _surface(recording: Recording, document: Document) -> Surface:
    gatherer = Gatherer(document)
    add = gatherer.add if recording.kind == "answer" else gatherer.add_delivery
    add(recording.exchange)
    return gatherer.surface()


def _said(difference: Difference) -> str:
    place = "/".join(difference.place.split("/")[2:])
    says = difference.says.rstrip(".")
    return f"/{place}: {says[0].lower()}{says[1:]}"


def _type_of(content_type: str | None) -> str:
    return (content_type or "none").partition(";")[0].strip().lower()
