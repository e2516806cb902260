"""Compares two observed surfaces: what is gone, what is new, and what cannot be told.

The rules are those for documents, for what clients receive. But what was not seen is not always gone: it is
only if the same place was seen in both runs, and the document does not make it optional.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from knouds_harness.contract.difference import Difference, Kind, additive, breaking
from knouds_harness.contract.document import Document
from knouds_harness.contract.known_places import FREE, KnownPlace, KnownPlaces
from knouds_harness.contract.nodes import unescape
from knouds_harness.contract.sources import Source
from knouds_harness.errors import RunRecordError
from knouds_harness.runs.record import read_run
from knouds_harness.runs.results import SURFACE_FILE, Answers, Place, Surface


def run_differences(old: Path, new: Path, document: Document) -> list[Difference]:
    """Compare what the runs in two folders saw.

    Raises:
        RunRecordError: One of them holds no readable run, or a run without a readable surface.
    """
    return surface_differences(_surface_in(old), _surface_in(new), document)


def _surface_in(folder: Path) -> Surface:
    surface = read_run(folder).surface
    if surface is None:
        raise RunRecordError(
            f"{folder}: holds no readable {SURFACE_FILE}, so nothing can be compared with it\n"
            "  Run the check again: each run writes one."
        )
    return surface


def surface_differences(old: Surface, new: Surface, document: Document) -> list[Difference]:
    """Return each difference by operation and status; ``unknown`` if one run did not see that place."""
    known = KnownPlaces(document)
    found: list[Difference] = []
    for name in dict.fromkeys([*old.operations, *new.operations]):
        was, now = old.operations.get(name), new.operations.get(name)
        if was is None or now is None:
            found.append(_unknown(name, _seen_once(is_old=now is None)))
            continue
        operation = document.operation_by_id.get(name)
        found += _statuses(name, was, now)
        seen_by_change: dict[Difference, list[str]] = defaultdict(list)
        for status in [status for status in was if status in now]:
            body = known.body(operation, int(status)) if operation else FREE
            pair = _Pair(was=was[status], now=now[status], body=body, known=known, document=document)
            for change in pair.differences():
                seen_by_change[change].append(status)
        found += [
            replace(change, place=f"{name}/{','.join(statuses)}{change.place}")
            for change, statuses in seen_by_change.items()
        ]
    for event in dict.fromkeys([*old.webhooks, *new.webhooks]):
        place = f"webhooks/{event}"
        if event in old.webhooks and event in new.webhooks:
            pair = _Pair(
                was=old.webhooks[event],
                now=new.webhooks[event],
                body=known.delivery,
                known=known,
                document=document,
            )
            found += [replace(change, place=f"{place}{change.place}") for change in pair.differences()]
        else:
            found.append(_unknown(place, _seen_once(is_old=event in old.webhooks)))
    return found


def _unknown(place: str, says: str) -> Difference:
    return Difference(kind=Kind.UNKNOWN, place=place, says=says)


def _seen_once(*, is_old: bool) -> str:
    return "Was seen then and not now." if is_old else "Was not seen then."


def _statuses(name: str, was: Iterable[str], now: Iterable[str]) -> Iterator[Difference]:
    """A success that came only with other statuses before has changed; any other status may still come."""
    succeeded = [{status for status in each if status < "300"} for each in (was, now)]
    has_moved = all(succeeded) and succeeded[0].isdisjoint(succeeded[1])
    for status in [status for status in was if status not in now]:
        if has_moved and status in succeeded[0]:
            yield breaking(f"{name}/{status}", f"Succeeds with {' or '.join(sorted(succeeded[1]))} now.")
        else:
            yield _unknown(f"{name}/{status}", _seen_once(is_old=True))
    for status in [status for status in now if status not in was]:
        yield additive(f"{name}/{status}", "The status is new.")


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """The responses of one operation with one status, or the deliveries of one event, in both runs."""

    was: Answers
    now: Answers
    body: KnownPlace
    known: KnownPlaces
    document: Document

    def differences(self) -> Iterator[Difference]:
        """Yield each difference, its place relative to this pair."""
        yield from self._codes()
        yield from self._headers()
        yield from self._members()
        for pointer in dict.fromkeys([*self.was.values, *self.now.values]):
            was, now = self.was.values.get(pointer, ()), self.now.values.get(pointer, ())
            if gone := [value for value in was if value not in now]:
                yield _unknown(pointer, f"Seen then and not now: {', '.join(gone)}.")
            if added := [value for value in now if value not in was]:
                yield additive(pointer, f"New in an open set: {', '.join(added)}.")

    def _codes(self) -> Iterator[Difference]:
        """A code is gone if an undocumented one has come; otherwise its cause may not have occurred."""
        catalogue = self.document.error_codes
        added = [code for code in self.now.codes if code not in self.was.codes]
        is_renamed = any(code not in catalogue for code in added)
        for code in [code for code in self.was.codes if code not in self.now.codes]:
            says = f"The code {code} was seen then and not now."
            if not is_renamed:
                yield _unknown("/code", says)
            elif code in catalogue and catalogue[code].source is Source.ASSUMED:
                yield additive("/code", f"The code {code} is gone. That was assumed only.")
            else:
                yield breaking("/code", f"The code {code} is gone.")
        for code in added:
            yield additive("/code", f"The code {code} is new.")

    def _headers(self) -> Iterator[Difference]:
        for name, was in self.was.headers.items():
            if name not in self.now.headers:
                yield self._gone(f"/headers/{name}", "header", was, is_optional=name in self.known.headers)
        for name in [name for name in self.now.headers if name not in self.was.headers]:
            yield additive(f"/headers/{name}", "The header is new.")

    def _members(self) -> Iterator[Difference]:
        for pointer in dict.fromkeys([*self.was.members, *self.now.members]):
            was, now = self.was.members.get(pointer), self.now.members.get(pointer)
            if was is not None and now is not None:
                yield from self._types(pointer, was, now)
                yield from self._presence(pointer, was, now)
                continue
            above, _, step = pointer.rpartition("/")
            if step == "*" or not pointer or not _is_object(above, self.was, self.now):
                continue  # an array was empty, or the place around is a difference of its own
            if now is None and was is not None:
                yield self._gone(pointer, "member", was, is_optional=self._is_optional(pointer))
            elif now is not None:
                yield additive(pointer, f"The member is new ({_shown(now.types)}).")

    def _gone(self, place: str, what: str, was: Place, *, is_optional: bool) -> Difference:
        if is_optional:
            return _unknown(place, f"The {what} was seen then and not now; the document lets it be missing.")
        if not was.is_always:
            return _unknown(place, f"The {what} was there sometimes, and was not seen now.")
        return breaking(place, f"The {what} is gone: it was always there.")

    def _presence(self, pointer: str, was: Place, now: Place) -> Iterator[Difference]:
        if was.is_always and not now.is_always and not self._is_optional(pointer):
            above, _, step = pointer.rpartition("/")
            is_promised = unescape(step) in self._known(above).required
            says = "The member was always there, and is not any more."
            yield breaking(pointer, says) if is_promised else _unknown(pointer, says)

    def _types(self, pointer: str, was: Place, now: Place) -> Iterator[Difference]:
        allowed = self._known(pointer).types
        added = {each for each in now.types if each not in was.types} - (allowed or set())
        says = f"The type was {_shown(was.types)} and is now {_shown(now.types)}."
        if was.types == ("null",) and added:
            yield additive(pointer, says)
        elif added == {"null"} and allowed is None:
            yield _unknown(pointer, f"{says} The document does not say whether it could always be null.")
        elif added:
            yield breaking(pointer, says)

    def _is_optional(self, pointer: str) -> bool:
        """Whether the document names a member and lets it be missing."""
        above, _, step = pointer.rpartition("/")
        around = self._known(above)
        return unescape(step) in around.members and unescape(step) not in around.required

    def _known(self, pointer: str) -> KnownPlace:
        place = self.body
        for step in pointer.split("/")[1:]:
            inside = place.items if step == "*" else place.members.get(unescape(step))
            place = inside or FREE
        return place


def _is_object(pointer: str, *answers: Answers) -> bool:
    """Whether an object was seen there, in each of them."""
    return all(pointer in each.members and "object" in each.members[pointer].types for each in answers)


def _shown(types: Iterable[str]) -> str:
    return " or ".join(types)
