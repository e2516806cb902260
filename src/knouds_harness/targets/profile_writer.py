"""Writes a profile from what a target told: TOML that is valid as it stands, with a line per step further."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from knouds_harness.printable import printable
from knouds_harness.targets.http_settings import HttpSettings
from knouds_harness.targets.personas import KeyState, Role
from knouds_harness.targets.profile_format import keys_of
from knouds_harness.targets.resources import Workflow

_NOT_TOLD = ("fails", "polled", "image_count_input", "cost_credits", "deadline_s")
_MODELS_OF_POLLED_PROVIDERS = ("seedance-", "suno-", "gpt-image-2")  # docs, async executions
_KEYS_HEAD = (
    "# What each key turned out to hold. A wildcard shows as all that it stands for:",
    '# where a key holds "workflow:*" or "*", write that instead.',
)


@dataclass(frozen=True, kw_only=True)
class FoundKey:
    """One key, as the target describes it.

    Attributes:
        name: The persona's name.
        variable: The environment variable that holds the key.
        user: The word for its account.
        tier: The account's tier id.
        role: The account's role.
        state: ``active``, or what the refusal proves.
        capabilities: Capabilities that it holds.
        untold: Capabilities that it may hold besides, to why that cannot be told.
    """

    name: str
    variable: str
    user: str
    tier: str
    role: Role = "user"
    state: KeyState = "active"
    capabilities: tuple[str, ...] = ()
    untold: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RefusedKey:
    """A key that the target refuses without saying why; its ``answer`` is in words."""

    name: str
    variable: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class FoundWorkflow:
    """One workflow, as the target describes it.

    Attributes:
        workflow: Workflow as the profile describes it.
        estimate_credits: What the server says one run costs; None where it does not.
        count_field: The input that by its name may ask for a number of images.
    """

    workflow: Workflow
    estimate_credits: float | None = None
    count_field: str | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that a target told.

    Attributes:
        base_url: Address of the target.
        production: Whether real people are on it; None where nobody said.
        plain_http: Whether keys may go to another machine in the clear.
        keys: Keys that it accepts, or refuses with proof of why.
        refused: Keys that it refuses otherwise.
        workflows: Workflows that can be listed.
        models: Internal names, to the most credits that usage shows for one run; 0 where it shows none.
        remarks: Remarks for the user, in sentences.
    """

    base_url: str
    production: bool | None = None
    plain_http: bool = False
    keys: tuple[FoundKey, ...] = ()
    refused: tuple[RefusedKey, ...] = ()
    workflows: tuple[FoundWorkflow, ...] = ()
    models: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def http_text(http: HttpSettings) -> str:
    """``[http]`` of a profile, whatever folder that is in."""
    values = {key: getattr(http, key) for key in keys_of(HttpSettings)}
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if value]
    return "\n".join(["", "[http]", *lines, ""])


def profile_text(found: Found, *, target: str) -> str:
    """The profile; ``target`` is what ``--target`` will take."""
    blocks = [
        _head(found, target),
        _limits(),
        _KEYS_HEAD,
        *(_key(key) for key in found.keys),
        *(_refused(key) for key in found.refused),
        *([] if len({key.user for key in found.keys}) > 1 else [_second_account()]),
        *(_workflow(each, found) for each in found.workflows),
        *([_models_head()] if found.models else []),
        *(_model(name, found.models[name]) for name in sorted(found.models)),
        _webhook(),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def toml_value(value: Any) -> str:  # noqa: ANN401 - any JSON value but null
    """A value as TOML: a text, number, truth value, list, or table in one line."""
    if isinstance(value, str | Path):
        return "".join(map(_seen, json.dumps(str(value), ensure_ascii=False)))
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml_key(name)} = {toml_value(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(toml_value(each) for each in value)}]"


def _seen(char: str) -> str:
    """A character, or its escape where it would not show, or would change how others show."""
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _toml_key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else toml_value(name)


def _comment(text: str) -> str:
    """Words of a server on one line of comment, whatever stands in them."""
    return printable(text, keep="")


def _off(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for line in lines]


def _head(found: Found, target: str) -> Sequence[str]:
    lines = [
        "# Written by knouds-harness init. As it stands, a run only reads. To let it do",
        "# and show more, remove the # before a line; docs/profile-reference.md explains each.",
        "# Which of them would show most:",
        "#",
        f"#     knouds-harness doctor --target {_comment(target)}",
        *(f"#\n# {_comment(remark)}" for remark in found.remarks),
        "",
        f"base_url = {toml_value(found.base_url)}",
    ]
    if found.production is None:
        lines.append("# production = true # if real people are on it: each run then needs --yes-production")
    else:
        lines.append(f"production = {toml_value(found.production)}")
    return [*lines, "plain_http = true"] if found.plain_http else lines


def _limits() -> Sequence[str]:
    return (
        "[limits]",
        "credits = 0 # the most that one run of the harness may cost; 0 allows nothing that is paid",
        "# requests_per_s = 10",
        "# timeout_s = 120 # for one answer; runs of video models take minutes",
        "allow = [",
        '  "read",',
        '  # "write", # make workflows, change and delete them',
        '  # "run", # run workflows and models: paid, within credits',
        '  # "cancel", # cancel runs: charged all the same',
        "]",
    )


def _key(key: FoundKey) -> Sequence[str]:
    capabilities = [
        *(f"  {toml_value(capability)}," for capability in key.capabilities),
        *(f"  # {toml_value(name)}, # {_comment(why)}" for name, why in key.untold.items()),
    ]
    lines = [
        f"[keys.{key.name}]",
        f"secret_env = {toml_value(key.variable)}",
        *(["capabilities = [", *capabilities, "]"] if capabilities else ["capabilities = []"]),
        f"user = {toml_value(key.user)}",
        f"tier = {toml_value(key.tier)}",
    ]
    if key.role != "user":
        lines.append(f"role = {toml_value(key.role)}")
    if key.state != "active":
        return [*lines, f"state = {toml_value(key.state)}"]
    return [
        *lines,
        '# credits = "none" # if its account has none; "exhausted" or "granted" if it has a trial grant',
        "# webhook = true # if the webhook at the end of this file is set for it",
    ]


def _refused(key: RefusedKey) -> Sequence[str]:
    table = (
        f"[keys.{key.name}]",
        f"secret_env = {toml_value(key.variable)}",
        "capabilities = []",
        f"user = {toml_value(key.name)}",
        'tier = "unknown"',
        'state = "revoked" # or "unapproved", if that is what it is',
    )
    return (
        f"# The server refuses this key: {_comment(key.answer)}. It is mistyped or revoked,",
        "# or its account is not approved; or the server refuses a valid key.",
        "# If the key has to be refused:",
        *_off(table),
    )


def _second_account() -> Sequence[str]:
    table = (
        "[keys.second]",
        'secret_env = "KEY_OF_A_SECOND_ACCOUNT"',
        'capabilities = ["workflow:run", "workflow:read", "workflow:write", "execution:read"]',
        'user = "second"',
        'tier = "pro"',
        "optional = true",
    )
    return (
        "# A key of a second account shows that nobody sees what belongs to others.",
        "# Give it to init as another --key, or fill it in here:",
        *_off(table),
    )


def _workflow(found: FoundWorkflow, whole: Found) -> Sequence[str]:
    workflow = found.workflow
    is_run = workflow.owner in {key.user for key in whole.keys}
    left_out = ("slug", "owner", *_NOT_TOLD, *(() if is_run else ("inputs",)))
    said = [
        f"{each.name} = {toml_value(value)}"
        for each in fields(Workflow)
        if each.name not in left_out and (value := getattr(workflow, each.name)) != _default(each.name)
    ]
    lines = [f"[workflows.{workflow.slug}]", f"owner = {toml_value(workflow.owner)}", *said]
    if not is_run:
        return lines
    if found.estimate_credits is not None:
        lines.append(
            f"# cost_credits = {found.estimate_credits:.10g} # the server's estimate counts without it"
        )
    lines += ["# polled = true # if it can run asynchronously", "# deadline_s = 600 # for such a run"]
    if found.count_field is not None:
        lines.append(
            f"# image_count_input = {toml_value(found.count_field)} "
            "# if that asks for a number of images, each of them charged"
        )
    return lines


def _default(name: str) -> object:
    return getattr(Workflow(slug="", owner=""), name)


def _models_head() -> Sequence[str]:
    return (
        "# Models that usage or pricing name. One without cost_credits is never run.",
        "# One that can run asynchronously needs polled = true: all others have to answer",
        "# ASYNC_NOT_SUPPORTED.",
    )


def _model(name: str, most_credits: float) -> Sequence[str]:
    def table() -> Iterator[str]:
        yield f"[models.{name}]"
        yield 'inputs = { prompt = "a lighthouse at dusk" }'
        if name.startswith(_MODELS_OF_POLLED_PROVIDERS):
            yield "polled = true"
            yield "deadline_s = 300"
        if most_credits:
            yield f"cost_credits = {most_credits:.10g} # the most that usage shows for one run"

    return _off(table())


def _webhook() -> Sequence[str]:
    table = (
        "[webhook]",
        'url = "https://hooks.example.com/knouds"',
        'listen = "127.0.0.1:9000" # where a tunnel or proxy of yours leads that url to',
        'secret_env = "KNOUDS_WEBHOOK_SECRET"',
        "optional = true",
    )
    return (
        "# Deliveries: url and secret as they are set for a key in the dashboard.",
        *_off(table),
    )
