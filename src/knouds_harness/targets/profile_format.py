"""The types of the values in ``targets/NAME.toml`` (docs/profile-reference.md explains each key).

Each table of a profile is read directly into the type that all code uses: ``Target``, ``Persona``, ``Limits``
and so on. Values are not converted: ``"true"`` is a text, not a boolean.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Annotated, Final, TypeVar, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from knouds_harness.contract.capabilities import is_capability

T = TypeVar("T")

ONLY_KNOWN_KEYS: Final = ConfigDict(extra="forbid")
AS_A_PROFILE: Final = "profile"
"""The validation context for reading a profile. Run records hold the same types, and are read without it."""


def _refuse(value: T, info: ValidationInfo) -> T:
    if info.context == AS_A_PROFILE:
        raise PydanticCustomError("unexpected_keyword_argument", "the harness sets this itself")
    return value


NOT_IN_FILE: Final = BeforeValidator(_refuse)
"""Marks a field that the harness sets itself; in a profile, such a key is unknown."""


def _capability(text: str) -> str:
    if not is_capability(text):
        raise ValueError(
            'not a capability: write "resource:verb", "resource:*", "workflow:SLUG:run", '
            '"model:NAME:run" or "*"'
        )
    return text


def _unused_member(name: str) -> str:
    if name in _USED_MEMBERS:
        raise ValueError("used by the harness itself: name another member")
    return name


_USED_MEMBERS = frozenset(
    {"slug", "id", "executionId", "requestId", "pollUrl", "status", "code", "cost", "tier", "role", "name"}
)
Flag = Annotated[bool, Strict()]
Day = Annotated[date, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Amount = Annotated[Number, Field(ge=0)]
Duration = Annotated[Number, Field(gt=0, le=86_400)]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Capability = Annotated[str, AfterValidator(_capability)]
Member = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$"), AfterValidator(_unused_member)
]


def keys_of(table: type) -> Mapping[str, object]:
    """Return the keys that a table may have, with the types of their values."""
    types = get_type_hints(table, include_extras=True)
    keys = {}
    for each in fields(table):
        marks = get_args(types[each.name])[1:]
        if NOT_IN_FILE not in marks:
            alias = next((mark.alias for mark in marks if isinstance(mark, FieldInfo)), None)
            keys[alias or each.name] = types[each.name]
    return keys
