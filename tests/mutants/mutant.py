"""A recording with one thing changed, and what that makes of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from knouds_harness.exchange.evidence import Pairs
from knouds_harness.exchange.recordings.recording import Recording


class Label(StrEnum):
    """What the sources say of a change.

    Attributes:
        BREACH: Something documented is broken.
        ADDITIVE: Something new, which may come without notice.
        EQUIVALENT: The same to every reader of the documentation, or something that it leaves open.
    """

    BREACH = "breach"
    ADDITIVE = "additive"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one recording: what was done, where (a JSON pointer or a header's name), what that is.

    Any of the ``facts`` is the right one to cite for a breach.
    """

    recording: Recording
    operator: str
    place: str = ""
    label: Label
    facts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people: what was done, where, to which recording."""
        return " ".join(part for part in (self.recording_name, self.operator, self.place) if part)

    @property
    def recording_name(self) -> str:
        """Of the recording that it was made from, without the status, which may have been changed."""
        return f"{self.recording.operation}/{self.recording.outcome}"


Operator = Callable[[Recording], Iterator[Mutant]]


def answering(
    recording: Recording,
    *,
    status: int | None = None,
    headers: Pairs | None = None,
    body: bytes | None = None,
) -> Recording:
    """The same recording with another answer; what is left out stays."""
    exchange = recording.exchange
    return replace(
        recording,
        exchange=replace(
            exchange,
            status=exchange.status if status is None else status,
            headers=exchange.headers if headers is None else headers,
            body=exchange.body if body is None else body,
        ),
    )


def saying(recording: Recording, body: object) -> Recording:
    """The same recording with another body, in JSON."""
    return answering(recording, body=encoded(body))


def breach(changed: Recording, operator: str, *facts: str, place: str = "") -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=Label.BREACH, facts=facts)


def no_breach(
    changed: Recording, operator: str, *, label: Label = Label.EQUIVALENT, place: str = ""
) -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=label)


def encoded(body: object) -> bytes:
    """JSON, as a server might write it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def without_header(headers: Pairs, name: str) -> Pairs:
    """All headers but one."""
    return tuple(pair for pair in headers if pair[0].lower() != name.lower())


def with_header(headers: Pairs, name: str, value: str) -> Pairs:
    """One header set to a value."""
    return (*without_header(headers, name), (name, value))
