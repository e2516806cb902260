"""Write a profile from what a target answered, with the template ``profile.toml.j2``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from knouds_harness.printable import printable
from knouds_harness.targets.http_settings import HttpSettings
from knouds_harness.targets.personas import KeyState, Role
from knouds_harness.targets.profile_format import keys_of
from knouds_harness.targets.resources import Workflow

_MODELS_OF_POLLED_PROVIDERS: Final = ("seedance-", "suno-", "gpt-image-2")  # docs, async executions
_NOT_TOLD: Final = ("fails", "polled", "image_count_input", "cost_credits", "deadline_s")
"""Keys of a workflow that no response reveals."""


UNKNOWN_TIER: Final = "unknown"
"""The tier of a refused key whose account is not named."""


@dataclass(frozen=True, kw_only=True)
class FoundKey:
    """One key, as the target describes it.

    Attributes:
        unknown_capabilities: Capabilities that it may also hold, with the reason why that is unknown.
    """

    name: str
    variable: str
    user: str
    tier: str
    role: Role = "user"
    state: KeyState = "active"
    capabilities: tuple[str, ...] = ()
    unknown_capabilities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RefusedKey:
    """A key that the target refuses without saying why; ``answer`` describes the response."""

    name: str
    variable: str
    answer: str
    user: str = ""
    tier: str = UNKNOWN_TIER


@dataclass(frozen=True, kw_only=True)
class FoundWorkflow:
    """One workflow, as the target describes it.

    Attributes:
        estimate_credits: The server's estimate of the cost of one run; None without one.
        count_field: An input that may set the number of images, judging by its name.
    """

    workflow: Workflow
    estimate_credits: float | None = None
    count_field: str | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that a target revealed."""

    base_url: str
    production: bool | None = None
    plain_http: bool = False
    keys: tuple[FoundKey, ...] = ()
    refused: tuple[RefusedKey, ...] = ()
    workflows: tuple[FoundWorkflow, ...] = ()
    models: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def http_text(http: HttpSettings) -> str:
    """Return ``[http]`` as TOML, with absolute paths: the profile may be in any folder."""
    values = {key: getattr(http, key) for key in keys_of(HttpSettings)}
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if value]
    return "\n".join(["", "[http]", *lines, ""])


def profile_text(found: Found, *, target: str) -> str:
    """Return the profile as TOML; ``target`` is the value for ``--target``."""
    return _rendered("profile.toml.j2", found, target=target)


def added_text(found: Found) -> str:
    """Return keys and workflows as TOML, to be appended to a profile."""
    return _rendered("profile_tables.toml.j2", found, is_addition=True)


def _rendered(template: str, found: Found, **values: object) -> str:
    environment = Environment(  # noqa: S701 - not HTML: finalize writes each value as TOML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, _Written) else toml_value(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        comment=lambda text: _Written(printable(text, keep="")),
        key=lambda name: _Written(_toml_key(name)),
        credits=lambda amount: _Written(f"{amount:.10g}"),
    )
    users = {key.user for key in found.keys if key.tier != UNKNOWN_TIER}
    return environment.get_template(template).render(
        found=found,
        **values,
        users=users,
        told=lambda workflow: _told(workflow, is_run=workflow.owner in users),
        unknown_tier=UNKNOWN_TIER,
        polled_models=_MODELS_OF_POLLED_PROVIDERS,
    )


class _Written(str):
    """Text that is written to the profile unchanged."""

    __slots__ = ()


def _told(workflow: Workflow, *, is_run: bool) -> dict[str, object]:
    """Return the revealed values of a workflow that are not the default; inputs only if it can be run."""
    left_out = _NOT_TOLD if is_run else (*_NOT_TOLD, "inputs")
    default = Workflow(slug="", owner="")
    values = {key: getattr(workflow, key) for key in keys_of(Workflow) if key not in left_out}
    return {key: value for key, value in values.items() if value != getattr(default, key)}


def toml_value(value: Any) -> str:  # noqa: ANN401 - any JSON value but null
    """Return a text, number, boolean, list or table as TOML in one line."""
    if isinstance(value, str | Path):
        return "".join(map(_seen, json.dumps(str(value), ensure_ascii=False)))
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml_key(name)} = {toml_value(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(toml_value(each) for each in value)}]"


def _seen(char: str) -> str:
    """Return a character, or its escape if it is invisible or changes how others are displayed."""
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _toml_key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else toml_value(name)
