"""A recording with one change."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.recording import Recording


class Label(StrEnum):
    """What the sources say about a change.

    Attributes:
        BREACH: Something documented is broken.
        ADDITIVE: Something is new, which may come without notice.
        EQUIVALENT: The documentation means the same by it, or leaves it open.
    """

    BREACH = "breach"
    ADDITIVE = "additive"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one recording: the operator, the place (a JSON pointer or a header's name), the label.

    A breach may cite any of the ``facts``.
    """

    recording: Recording
    operator: str
    place: str = ""
    label: Label
    facts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what was done, where, and to which recording, for people."""
        return " ".join(part for part in (self.recording_name, self.operator, self.place) if part)

    @property
    def recording_name(self) -> str:
        """Return the recording that it was made from, without the status, which may have changed."""
        return f"{self.recording.operation}/{self.recording.outcome}"


Operator = Callable[[Recording], Iterator[Mutant]]


def answering(recording: Recording, **changes: Any) -> Recording:
    """Return the recording with another status, other headers or another body of its response."""
    return replace(recording, exchange=replace(recording.exchange, **changes))


def saying(recording: Recording, body: object) -> Recording:
    """Return the recording with another JSON body."""
    return answering(recording, body=encoded(body))


def breach(changed: Recording, operator: str, *facts: str, place: str = "") -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=Label.BREACH, facts=facts)


def no_breach(
    changed: Recording, operator: str, *, label: Label = Label.EQUIVALENT, place: str = ""
) -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=label)


def breaks(recording: Recording, operator: str, body: object, *facts: str, place: str = "") -> Mutant:
    """Return the breach that another JSON body is."""
    return breach(saying(recording, body), operator, *facts, place=place)


def keeps(
    recording: Recording, operator: str, body: object, *, label: Label = Label.EQUIVALENT, place: str = ""
) -> Mutant:
    """Return the change that another JSON body is, and which breaks nothing."""
    return no_breach(saying(recording, body), operator, label=label, place=place)


def encoded(body: object) -> bytes:
    """Encode JSON as a server might."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def without_header(headers: Pairs, name: str) -> Pairs:
    """Return all headers but one."""
    return tuple(pair for pair in headers if pair[0].lower() != name.lower())


def with_header(headers: Pairs, name: str, value: str) -> Pairs:
    """Return the headers with one set to a value."""
    return (*without_header(headers, name), (name, value))
