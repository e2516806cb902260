"""Write a profile from what a target answered, with the template ``profile.toml.j2``."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from knouds_harness.printable import printable
from knouds_harness.targets.address import host_of, is_loopback
from knouds_harness.targets.http_settings import HttpSettings
from knouds_harness.targets.profile_format import keys_of
from knouds_harness.targets.resources import KeyState, Role, Workflow

_MODELS_OF_POLLED_PROVIDERS: Final = ("seedance-", "suno-", "gpt-image-2")  # docs, async executions
_NOT_TOLD: Final = ("fails", "polled", "image_count_input", "cost_credits", "deadline_s")
"""Keys of a workflow that no response reveals."""
_UNSHOWN: Final = "webhook:receive"


_OF_KEY: Final = re.compile(r"([A-Z][A-Z0-9_]*?)(?:_API)?_KEY(?:_[A-Z0-9_]+)?")
WHY_REFUSED: Final = (
    "A key is mistyped or revoked, or its account is not approved; or the server refuses a valid key"
)
UNKNOWN_TIER: Final = "unknown"
"""The tier of a refused key whose account is not named."""


@dataclass(frozen=True, kw_only=True)
class FoundKey:
    """One key, as the target describes it.

    Attributes:
        unknown_capabilities: Capabilities that it may also hold, with the reason why that is unknown.
        refusal: The response to a key that the target refuses without saying why; empty for any other.
    """

    name: str
    variable: str
    user: str
    tier: str
    role: Role = "user"
    state: KeyState = "active"
    capabilities: tuple[str, ...] = ()
    unknown_capabilities: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""

    @property
    def says(self) -> str:
        if self.refusal:
            return f"refused ({self.refusal}). {WHY_REFUSED}. [keys.{self.name}] is a comment."
        if self.state != "active":
            return f"{self.state}, says the server; written as a key of account {self.user} ({self.tier})"
        unknown = [f"{name} ({why})" for name, why in self.unknown_capabilities.items() if name != _UNSHOWN]
        held = ", ".join(self.capabilities) or "nothing that shows"
        told = f"; not told: {', '.join(unknown)}" if unknown else ""
        return f"account {self.user} ({self.tier}), holds {held}{told}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that a target revealed.

    Attributes:
        workflows: With the server's estimate as ``cost_credits``.
        models: The highest cost of a run that usage shows, by model; 0 if it shows none.
    """

    base_url: str
    production: bool | None = None
    plain_http: bool = False
    keys: tuple[FoundKey, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    models: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def refused(self) -> list[FoundKey]:
        return [key for key in self.keys if key.refusal]

    def lines(self) -> Iterator[str]:
        yield from (f"  {key.variable}: {key.says}" for key in self.keys)
        for user in dict.fromkeys(each.owner for each in self.workflows):
            slugs = [each.slug for each in self.workflows if each.owner == user]
            yield f"  workflows of {user}: {', '.join(slugs)}"
        if self.models:
            yield f"  models that usage or pricing name, as comments: {', '.join(sorted(self.models))}"
        yield from (f"  {remark}" for remark in self.remarks)


def profile_name(base_url: str, variables: Sequence[str]) -> str:
    """Name the profile after the host's first label, or a whole IP address.

    A profile for this machine is named after the first key: ``staging`` for STAGING_KEY.
    """
    host = host_of(base_url)
    if is_loopback(host):
        named = _OF_KEY.fullmatch(variables[0])
        return named[1].lower().replace("_", "-") if named else "local"
    first = host.partition(".")[0]
    return re.sub("[^a-z0-9]+", "-", host if first.isdigit() else first).strip("-") or "target"


def http_text(http: HttpSettings) -> str:
    """Return ``[http]`` as TOML, with absolute paths: the profile may be in any folder."""
    values = {key: getattr(http, key) for key in keys_of(HttpSettings)}
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if value]
    return "\n".join(["", "[http]", *lines, ""])


def profile_text(found: Found, *, target: str) -> str:
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
    return environment.get_template("profile.toml.j2").render(
        found=found,
        target=target,
        users=users,
        told=lambda workflow: _told(workflow, is_run=workflow.owner in users),
        unknown_tier=UNKNOWN_TIER,
        polled_models=_MODELS_OF_POLLED_PROVIDERS,
    )


class _Written(str):
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
