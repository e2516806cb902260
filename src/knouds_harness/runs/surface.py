"""The observed surface of a run: what the server was seen to answer, in the shape of ``surface.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from pydantic import TypeAdapter

SURFACE_FILE: Final = "surface.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A header, or a member of a body.

    Attributes:
        types: The JSON types seen, sorted; integers are numbers. A header has none.
        is_always: It was there each time that it could have been.
        is_drift: The document does not name it.
    """

    types: tuple[str, ...] = ()
    is_always: bool
    is_drift: bool


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers of one operation with one status, or all deliveries of one event.

    Attributes:
        codes: Error codes, sorted.
        headers: Headers by name in lower case, without those of HTTP and of proxies.
        members: By JSON pointer, any item written ``*``; empty for the body as a whole. What the document
            does not describe is not looked into.
        values: Seen of open sets, by JSON pointer.
    """

    codes: tuple[str, ...] = ()
    headers: Mapping[str, Place] = field(default_factory=dict)
    members: Mapping[str, Place] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What a server was seen to answer.

    Attributes:
        operations: Answers by operationId and status.
        webhooks: Deliveries by event.
    """

    format: Literal["knouds-harness surface"] = "knouds-harness surface"
    format_version: Literal[1] = 1
    operations: Mapping[str, Mapping[str, Answers]] = field(default_factory=dict)
    webhooks: Mapping[str, Answers] = field(default_factory=dict)


@cache
def surface_format() -> TypeAdapter[Surface]:
    """Writes and reads ``surface.json``."""
    return TypeAdapter(Surface)
