"""What is wrong with a profile, in sentences: where, which value, what to do. Never a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from knouds_harness.errors import ProfileError

_SENSITIVE_NAME = re.compile(r"secret|token|password|api.?key|authorization", re.IGNORECASE)
_SENSITIVE_VALUE = re.compile(r"knouds_live_|whsec_|://[^/\s]*@", re.IGNORECASE)
_SECRET_REMEDY = (
    "A secret never stands in a profile: name an environment variable with secret_env, or a file with secret_file, "
    "and replace this secret if others have seen the file."
)
_KINDS = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "date_type": "a date without quotes, such as 2027-01-31",
    "date_from_datetime_inexact": "a date without a time, such as 2027-01-31",
}
_BOUNDS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a profile.

    Attributes:
        where: The key, dotted; empty for the file as a whole.
        says: What is wrong, with the value unless it may be a secret.
        remedy: What to do, as a sentence or two.
    """

    where: str
    says: str
    remedy: str


def profile_error(source: Path, problems: Iterable[Problem]) -> ProfileError:
    """Put every problem of one file into one exception."""
    file = _shown_path(source)
    return ProfileError(
        "\n".join(
            f"{file}: {problem.where}{': ' if problem.where else ''}{problem.says}\n  {problem.remedy}"
            for problem in problems
        )
    )


def shape_problems(error: ValidationError, shape: type[BaseModel]) -> list[Problem]:
    """Say what pydantic found, in the words of the profile."""
    return [_shape_problem(details, shape) for details in error.errors(include_url=False)]


def shown(value: object) -> str:
    """A value as TOML would write it, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _shape_problem(details: ErrorDetails, shape: type[BaseModel]) -> Problem:
    location = [part for part in details["loc"] if part != "[key]"]
    where = _dotted(location)
    kind = details["type"]
    value = _shown_if_safe(location, details["input"])
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(location, details["input"], _known_keys(shape, location[:-1]))
    if kind == "missing":
        return Problem(
            where=where,
            says="is missing",
            remedy=f"Add {location[-1]} = … there; docs/targets.md has an example.",
        )
    if "[key]" in details["loc"]:
        return Problem(
            where=where,
            says="is no name: names have lowercase letters, digits and single hyphens",
            remedy="Rename it, for instance to "
            f'"{re.sub("[^a-z0-9]+", "-", str(location[-1]).lower()).strip("-") or "full"}".',
        )
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return Problem(
            where=where,
            says=f"{value} is not one of {', '.join(allowed)}",
            remedy=_suggestion(details["input"], allowed) or "Write one of them.",
        )
    if kind in _KINDS:
        return Problem(
            where=where,
            says=f"{value} should be {_KINDS[kind]}",
            remedy=f"Write {_KINDS[kind]} for {location[-1]}.",
        )
    if kind in _BOUNDS:
        bound = _BOUNDS[kind].format(**context)
        return Problem(
            where=where, says=f"{value} should be {bound}", remedy=f"Write a number that is {bound}."
        )
    if kind == "string_too_short":
        return Problem(where=where, says="is empty", remedy="Fill it in, or remove the line.")
    if kind == "string_pattern_mismatch":
        return Problem(
            where=where, says=f"{value} is malformed", remedy=f"It has to match {context['pattern']}."
        )
    if kind == "value_error":
        says, _, remedy = str(context["error"]).partition(": ")
        return Problem(where=where, says=f"{value} is {says}", remedy=f"{remedy[:1].upper()}{remedy[1:]}.")
    return Problem(
        where=where, says=f"{value}: {details['msg']}", remedy="docs/targets.md explains every key."
    )


def _unknown_key(location: Sequence[int | str], value: object, known: Sequence[str]) -> Problem:
    name = str(location[-1])
    if _SENSITIVE_NAME.search(name) or (isinstance(value, str) and _SENSITIVE_VALUE.search(value)):
        return Problem(where=_dotted(location), says="is a secret in the profile", remedy=_SECRET_REMEDY)
    return Problem(
        where=_dotted(location),
        says="is no key of a profile",
        remedy=_suggestion(name, known) or f"Remove it; known here: {', '.join(known)}.",
    )


def _suggestion(value: object, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    return f'Did you mean "{nearest[0]}"?' if nearest else ""


def _known_keys(shape: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys of the table at this place, found by walking the models' annotations."""
    current: Any = shape
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = _table_in(current.model_fields[str(part)].annotation)
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []


def _table_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
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


def _shown_path(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
