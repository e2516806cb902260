"""Update a folder of recordings: replace those that changed in substance, and leave the others alone.

Ids, times and measurements differ in every run, so they are not part of the substance.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from knouds_harness.errors import RecordingError
from knouds_harness.exchange.evidence import JSON, Pairs, parsed_json
from knouds_harness.exchange.recording import Recording, as_content, read_recording, write_recording


class RecordingChange(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    WITH_STORY = "recorded again with its story"
    UNCHANGED = "unchanged"
    LEFT = "left alone: the rest of its story was not recorded"


@dataclass(frozen=True, kw_only=True)
class RecordedFile:
    recording: Recording
    change: RecordingChange
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecordingFolder:
    """The contents of a folder of recordings, and why its ``damaged`` files cannot be used."""

    path: Path
    recordings: Mapping[tuple[str, str], Recording]
    damaged: Mapping[Path, RecordingError]

    @classmethod
    def open(cls, path: Path, *, contract_version: str | None = None) -> Self:
        recordings: dict[tuple[str, str], Recording] = {}
        damaged: dict[Path, RecordingError] = {}
        for file in sorted(path.glob("*.json")):
            try:
                recording = read_recording(file, contract_version=contract_version)
            except RecordingError as error:
                damaged[file] = error
            else:
                recordings[recording.key] = recording
        return cls(path=path, recordings=recordings, damaged=damaged)

    def names_by_fact(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the recordings that show each fact to hold, by fact id."""
        names: dict[str, list[str]] = {}
        for recording in self.recordings.values():
            for fact in recording.facts:
                names.setdefault(fact, []).append(recording.name)
        return {fact: tuple(sorted(seen)) for fact, seen in names.items()}

    def put(self, recordings: Iterable[Recording]) -> list[RecordedFile]:
        """Write recordings that are new or changed in substance; of a story, all or none."""
        stories: dict[object, list[Recording]] = {}
        for recording in recordings:
            stories.setdefault(recording.story or recording.key, []).append(recording)
        return [put for story in stories.values() for put in self._put_story(story)]

    def _put_story(self, story: list[Recording]) -> list[RecordedFile]:
        puts = [self._compared(recording) for recording in story]
        if all(put.change is RecordingChange.UNCHANGED for put in puts):
            return puts
        if self._has_more_of(story):
            return [replace(put, change=RecordingChange.LEFT) for put in puts]
        for put in puts:
            written = write_recording(self.path, put.recording)
            old = self.recordings.get(put.recording.key)
            if old is not None and old.name != written.stem:
                (self.path / f"{old.name}.json").unlink(missing_ok=True)
        return [
            replace(put, change=RecordingChange.WITH_STORY)
            if put.change is RecordingChange.UNCHANGED
            else put
            for put in puts
        ]

    def _has_more_of(self, story: list[Recording]) -> bool:
        """Return whether the folder has further recordings of the story, which would no longer fit."""
        given = {each.key for each in story}
        others = (each for outcome, each in self.recordings.items() if outcome not in given)
        return any(each.story == story[0].story for each in others if each.story)

    def _compared(self, recording: Recording) -> RecordedFile:
        old = self.recordings.get(recording.key)
        lines = tuple(differences(old, recording)) if old else ()
        change = RecordingChange.CHANGED if lines else RecordingChange.UNCHANGED
        return RecordedFile(recording=recording, change=change if old else RecordingChange.NEW, lines=lines)


_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")
_TOKEN: Final = re.compile(r"(?<![\w-])(?=[a-z_-]*\d)[a-z]{2,4}_[0-9A-Za-z-]{8,}")
_MADE: Final = re.compile(r"\b(harness-[a-z-]*[a-z])-\d+\b")  # the suffix of a taken name varies
_STRANGER: Final = re.compile(r"(\{\{user:|person-)\d+")
_SIGNATURE: Final = re.compile(r"t=\d+,v1=[0-9a-f]{64}")
_MEASURES: Final = frozenset({"ms", "durationMs", "retryAfter", "total", "id", "uptimeS", "uptime"})
_MEASURED_HEADERS: Final = frozenset({"retry-after", "x-ratelimit-remaining", "x-ratelimit-reset"})
_OF_THE_WAY: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "user-agent"}
)
_CLOCK: Final = re.compile(r"uptime|elapsed|latency|duration", re.IGNORECASE)
_HISTORIES: Final = frozenset({"rows"})
_NUMBER: Final = "<number>"
_OF_RECORDING: Final = ("kind", "operation", "outcome", "says", "story", "checks", "facts")
_OF_REQUEST: Final = ("method", "persona", "tier", "action", "path", "path_values", "query")


def differences(old: Recording, new: Recording) -> Iterator[str]:
    """Yield the changes in substance, one line for each; none if nothing changed."""
    before, after = (dict(_leaves(_substance(each))) for each in (old, new))
    for place in before | after:
        was, now = before.get(place), after.get(place)
        if was is None:
            yield f"{place} is new: {now}"
        elif was != now:
            yield f"{place} is gone, was {was}" if now is None else f"{place} is {now}, was {was}"


_NOTICED: Final = {
    "answer": ("response ",),
    "delivery": ("request method ", "request path ", "request body ", "request sent_headers "),
}
"""How the lines begin of what a client or receiver notices, by kind of recording."""


def noticed(old: Recording, new: Recording) -> list[str]:
    """Return the changes that a client, or the receiver of a delivery, would notice."""
    return [line for line in differences(old, new) if line.startswith(_NOTICED[old.kind])]


def _substance(recording: Recording) -> dict[str, Any]:
    """Return what a client can rely on, with the names of the file."""
    content, exchange = as_content(recording), recording.exchange
    request = {name: content["request"][name] for name in _OF_REQUEST}
    request["sent_headers"] = _headers(exchange.sent_headers)
    request["body"] = _body(exchange.request.body or b"")
    return {
        **{name: content[name] for name in _OF_RECORDING},
        "contract_version": recording.origin.contract_version,
        "request": request,
        "response": {
            "status": exchange.status,
            "headers": _headers(exchange.headers),
            "body": _body(exchange.body),
        },
    }


def _leaves(value: JSON, place: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value in a structure with its place, without what differs in every run."""
    if isinstance(value, list) and name in _HISTORIES:
        value = _kinds(value)
    if isinstance(value, Mapping) and value:
        for member, each in value.items():
            yield from _leaves(each, f"{place} {member}".lstrip(), member)
    elif isinstance(value, list) and value:
        is_of_names = all(isinstance(each, str) for each in value)
        for number, each in enumerate(value):
            yield from _leaves(each, f"{place} {_text(each) if is_of_names else number}", name)
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and (name in _MEASURES or _CLOCK.search(name)):
            value = _NUMBER
        yield place, json.dumps(_text(value) if isinstance(value, str) else value, ensure_ascii=False)


def _kinds(items: list[JSON]) -> JSON:
    kinds: dict[str, set[str]] = {}
    for item in items:
        for member, value in (item if isinstance(item, Mapping) else {"item": item}).items():
            kind = type(value).__name__
            kinds.setdefault(member, set()).add("number" if kind in ("int", "float") else kind)
    return {member: " or ".join(sorted(each)) for member, each in sorted(kinds.items())}


def _headers(headers: Pairs) -> dict[str, str]:
    return {
        name.lower(): _NUMBER if name.lower() in _MEASURED_HEADERS and value.isdecimal() else value
        for name, value in headers
        if name.lower() not in _OF_THE_WAY
    }


def _body(body: bytes) -> JSON:
    document, problem = parsed_json(body)
    if problem is None:
        return document
    text = body.decode("utf-8", "replace")
    return f"{len(text)} times {text[0]!r}" if len(set(text)) == 1 else text


def _text(text: str) -> str:
    text = _INSTANT.sub("<instant>", _UUID.sub("<uuid>", text))
    text = _MADE.sub(r"\1", text)
    text = _SIGNATURE.sub("t=<instant>,v1=<digest>", text)
    return _STRANGER.sub(r"\1<number>", _TOKEN.sub("<token>", text))
