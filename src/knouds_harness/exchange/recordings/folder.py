"""A folder of recordings, kept up to date: what changed in substance is replaced, the rest left alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from knouds_harness.errors import RecordingError
from knouds_harness.exchange.recordings.comparable_content import differences
from knouds_harness.exchange.recordings.recording import Recording, read_recording, write_recording


class RecordingChange(StrEnum):
    """What became of a recording's file."""

    NEW = "new"
    CHANGED = "changed"
    WITH_STORY = "made anew with its story"
    UNCHANGED = "unchanged"
    LEFT = "left alone: others of its story were not recorded"


@dataclass(frozen=True, kw_only=True)
class Put:
    """A recording put into the folder.

    Attributes:
        recording: As it was given.
        change: What became of its file.
        lines: What changed in substance, as ``diff`` writes it.
    """

    recording: Recording
    change: RecordingChange
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecordingFolder:
    """What a folder holds.

    Attributes:
        path: Of the folder, which need not exist yet.
        recordings: By operation and outcome.
        damaged: What cannot be used, by file, and why.
    """

    path: Path
    recordings: Mapping[tuple[str, str], Recording]
    damaged: Mapping[Path, RecordingError]

    @classmethod
    def open(cls, path: Path, *, contract_version: str | None = None) -> Self:
        """Read every file; one that cannot be used is kept as damaged.

        Args:
            path: Of the folder.
            contract_version: Recordings of another one count as damaged; None takes any.
        """
        recordings: dict[tuple[str, str], Recording] = {}
        damaged: dict[Path, RecordingError] = {}
        for file in sorted(path.glob("*.json")):
            try:
                recording = read_recording(file, contract_version=contract_version)
            except RecordingError as error:
                damaged[file] = error
            else:
                recordings[recording.operation, recording.outcome] = recording
        return cls(path=path, recordings=recordings, damaged=damaged)

    def names_by_fact(self) -> dict[str, tuple[str, ...]]:
        """In which recordings each fact is seen to be kept, by its id."""
        names: dict[str, list[str]] = {}
        for recording in self.recordings.values():
            for fact in recording.facts:
                names.setdefault(fact, []).append(recording.name)
        return {fact: tuple(sorted(seen)) for fact, seen in names.items()}

    def put(self, recordings: Iterable[Recording]) -> list[Put]:
        """Write what is new or changed in substance; those of one story together or not at all.

        Raises:
            RecordingError: A file cannot be written.
        """
        stories: dict[object, list[Recording]] = {}
        for recording in recordings:
            stories.setdefault(recording.story or (recording.operation, recording.outcome), []).append(
                recording
            )
        return [put for story in stories.values() for put in self._put_story(story)]

    def _put_story(self, story: list[Recording]) -> list[Put]:
        puts = [self._compared(recording) for recording in story]
        if all(put.change is RecordingChange.UNCHANGED for put in puts):
            return puts
        if self._has_more_of(story):
            return [replace(put, change=RecordingChange.LEFT) for put in puts]
        for put in puts:
            written = write_recording(self.path, put.recording)
            old = self.recordings.get((put.recording.operation, put.recording.outcome))
            if old is not None and old.name != written.stem:
                (self.path / f"{old.name}.json").unlink(missing_ok=True)
        return [
            replace(put, change=RecordingChange.WITH_STORY)
            if put.change is RecordingChange.UNCHANGED
            else put
            for put in puts
        ]

    def _has_more_of(self, story: list[Recording]) -> bool:
        """Whether the folder holds others of a story, which would not fit what was recorded now."""
        given = {(each.operation, each.outcome) for each in story}
        others = (each for outcome, each in self.recordings.items() if outcome not in given)
        return any(each.story == story[0].story for each in others if each.story)

    def _compared(self, recording: Recording) -> Put:
        old = self.recordings.get((recording.operation, recording.outcome))
        if old is None:
            return Put(recording=recording, change=RecordingChange.NEW)
        lines = tuple(differences(old, recording))
        return Put(
            recording=recording,
            change=RecordingChange.CHANGED if lines else RecordingChange.UNCHANGED,
            lines=lines,
        )
