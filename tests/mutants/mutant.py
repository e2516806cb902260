"""A recording with one change."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

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


def answering(
    recording: Recording,
    *,
    status: int | None = None,
    headers: Pairs | None = None,
    body: bytes | None = None,
) -> Recording:
    """Return the recording with another response; parts that are not given stay."""
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
    """Return the recording with another JSON body."""
    return answering(recording, body=encoded(body))


def breach(changed: Recording, operator: str, *facts: str, place: str = "") -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=Label.BREACH, facts=facts)


def no_breach(
    changed: Recording, operator: str, *, label: Label = Label.EQUIVALENT, place: str = ""
) -> Mutant:
    return Mutant(recording=changed, operator=operator, place=place, label=label)


def encoded(body: object) -> bytes:
    """Encode JSON as a server might."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def without_header(headers: Pairs, name: str) -> Pairs:
    """Return all headers but one."""
    return tuple(pair for pair in headers if pair[0].lower() != name.lower())


def with_header(headers: Pairs, name: str, value: str) -> Pairs:
    """Return the headers with one set to a value."""
    return (*without_header(headers, name), (name, value))
