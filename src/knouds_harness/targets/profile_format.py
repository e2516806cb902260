"""The types of the values in ``targets/NAME.toml`` (docs/profile-reference.md explains each key).

Each table of a profile is read directly into the type that all code uses: ``Target``, ``Persona``, ``Limits``
and so on. Values are not converted: ``"true"`` is a text, not a boolean.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
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
from pydantic_core import ErrorDetails, PydanticCustomError

from knouds_harness.contract.operations import is_capability
from knouds_harness.errors import LIKELY_MISTYPED, ProfileError, suggestion

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


def fitting(fits: Callable[[str], bool], says: str) -> AfterValidator:
    """Make the check of a text; ``says`` is what a text that does not fit is, a colon, and what to do."""

    def check(text: str) -> str:
        if not fits(text):
            raise ValueError(says)
        return text

    return AfterValidator(check)


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
Capability = Annotated[
    str,
    fitting(
        is_capability,
        'not a capability: write "resource:verb", "resource:*", "workflow:SLUG:run", "model:NAME:run" or "*"',
    ),
]
Member = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$"),
    fitting(lambda name: name not in _USED_MEMBERS, "used by the harness itself: name another member"),
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


_SENSITIVE_NAME = re.compile(r"secret|token|password|api.?key|authorization", re.IGNORECASE)
_SENSITIVE_VALUE = re.compile(r"knouds_live_|whsec_|://[^/\s]*@", re.IGNORECASE)
_SECRET_ITSELF = re.compile(r"(?:knouds[_-]live[_-]|whsec[_-])[^\s\"']+", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_KEEP_IT_OUT = (
    "Never write a secret into a profile: name an environment variable with secret_env, or a file with "
    "secret_file, and replace this secret if others have seen the file."
)
_MAX_SHOWN = 60


def is_sensitive_name(name: str) -> bool:
    return _SENSITIVE_NAME.search(name) is not None


def holds_secret(text: str) -> bool:
    return _SECRET_ITSELF.search(text) is not None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a profile.

    Attributes:
        where: The key, dotted; empty for the file as a whole.
    """

    where: str
    says: str
    remedy: str


def without_value(variable: str, environ: Mapping[str, str]) -> str:
    """Say why a variable gives nothing: CI systems leave those of undefined secrets empty."""
    return f"environment variable {variable} is {'empty' if variable in environ else 'not set'}"


def profile_error(source: Path, problems: Iterable[Problem]) -> ProfileError:
    file = shown_path(source)
    message = "\n".join(
        f"{file}: {problem.where}{': ' if problem.where else ''}{problem.says}\n  {problem.remedy}"
        for problem in problems
    )
    return ProfileError(_SECRET_ITSELF.sub("…", message))  # a secret may be anywhere in it


def shown(value: object) -> str:
    """Return a value about as TOML writes it, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def shape_problem(details: ErrorDetails, shape: type) -> Problem:
    """Say what pydantic found, in the words of the profile."""
    location = [part for part in details["loc"] if part != "[key]"]
    if details["type"] == "unexpected_keyword_argument":
        return _unknown_key(location, details["input"], _known_keys(shape, location[:-1]))
    if len(location) < len(details["loc"]):
        says = "is not a name: names have lowercase letters, digits and single hyphens"
        better = re.sub("[^a-z0-9]+", "-", str(location[-1]).lower()).strip("-") or "full"
        remedy = f'Rename it, for instance to "{better}".'
    else:
        says, remedy = _sentences(details, _shown_if_safe(location, details["input"]), str(location[-1]))
    return Problem(where=_dotted(location), says=says, remedy=remedy)


def _sentences(details: ErrorDetails, value: str, name: str) -> tuple[str, str]:
    match details["type"]:
        case "missing":
            return "is missing", f"Add {name} = … there; docs/targets.md has an example."
        case "literal_error" | "enum":
            allowed = re.findall(r"'([^']*)'", details["ctx"]["expected"])
            near = suggestion(str(details["input"]), allowed, likeness=0.5)
            return f"{value} is not one of {', '.join(allowed)}", near or "Write one of them."
        case "value_error":
            says, _, remedy = str(details["ctx"]["error"]).partition(": ")
            is_table = isinstance(details["input"], Mapping)
            return says if is_table else f"{value} is {says}", f"{remedy[:1].upper()}{remedy[1:]}."
    is_quoted = details["type"].endswith("_type") and isinstance(details["input"], str)
    quotes = "Write it without quotes; " if is_quoted else ""
    message = details["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{value} {message}", f"{quotes}docs/profile-reference.md explains every key."


def _unknown_key(location: Sequence[int | str], value: object, known: Sequence[str]) -> Problem:
    name = str(location[-1])
    if name == "secret_keyring":
        remedy = "Use secret_file, or secret_env with a variable that your password manager sets."
        return Problem(where=_dotted(location), says="is not read any more", remedy=remedy)
    text = value if isinstance(value, str) else ""
    others = [each for each in known if not each.startswith(name)]
    mistyped = suggestion(name, others, likeness=LIKELY_MISTYPED) if _VARIABLE.fullmatch(text) else ""
    if not mistyped and (_SENSITIVE_NAME.search(name) or _SENSITIVE_VALUE.search(text)):
        return Problem(where=_dotted(location), says="is a secret in the profile", remedy=_KEEP_IT_OUT)
    return Problem(
        where=_dotted(location),
        says="unknown key",
        remedy=suggestion(name, known, likeness=0.5) or f"Remove it; known here: {', '.join(known)}.",
    )


def _known_keys(shape: type, location: Sequence[int | str]) -> list[str]:
    """Return the keys of the table at this place, found by following the types of fields."""
    table = shape
    for part in location:
        # A persona's name or a position in a list has the type of the section around it.
        table = _table_in(keys_of(table).get(str(part))) or table
    return list(keys_of(table))


def _table_in(annotation: object) -> type | None:
    if isinstance(annotation, type) and is_dataclass(annotation):
        return annotation
    return next((table for inner in get_args(annotation) if (table := _table_in(inner))), None)


def _dotted(location: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(
        "."
    )


def _shown_if_safe(location: Sequence[int | str], value: object) -> str:
    text = shown(value)
    if _SENSITIVE_VALUE.search(text) or any(_SENSITIVE_NAME.search(str(part)) for part in location):
        return "the value"
    return text


def shown_path(path: Path) -> str:
    """Return a path relative to the current folder if it is inside, otherwise unchanged."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
