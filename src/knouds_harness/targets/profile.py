"""Read targets from their profiles, and validate them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.files import file_content, file_text
from knouds_harness.locations import SANDBOX, builtin_targets_path
from knouds_harness.targets.address import allowed_hosts, usable_base_url
from knouds_harness.targets.http_settings import HttpSettings, complete_http
from knouds_harness.targets.profile_format import (
    AS_A_PROFILE,
    NOT_IN_FILE,
    ONLY_KNOWN_KEYS,
    Flag,
    Member,
    Name,
    Problem,
    Text,
    profile_error,
    shape_problem,
    shown_path,
)
from knouds_harness.targets.resources import Control, Limits, Model, Persona, Waiver, Webhook, Workflow
from knouds_harness.targets.secrets import NO_SECRET, SIGNING_SECRET, SecretReader, SecretSource

__all__ = [
    "Control",
    "Expect",
    "Limits",
    "Model",
    "Persona",
    "Target",
    "Webhook",
    "Workflow",
    "load_target",
    "target_names",
]


@dataclass(frozen=True, kw_only=True)
class Expect:
    """The facts and families that ``check`` has to verify on this target: ``[expect]``."""

    facts: tuple[Text, ...] = ()
    families: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A whole profile: where to test, with which keys and resources, within which limits.

    Attributes:
        base_url: Scheme, host, port and perhaps a path, without a trailing slash.
        production: Whether real users are on it; None if the profile does not say.
        personas: Keys by name, without those whose optional secret is missing.
        missing: Optional parts of the profile whose secret is missing here: name (``keys.pro``) to reason.
    """

    __pydantic_config__ = ONLY_KNOWN_KEYS

    name: Annotated[str, NOT_IN_FILE, Field(default="")]
    base_url: Annotated[Text, Field(default="")]
    base_url_env: Text | None = None
    production: Flag | None = None
    plain_http: Flag = False
    limits: Limits = field(default_factory=Limits)
    personas: Annotated[Mapping[Name, Persona], Field(alias="keys")] = field(default_factory=dict)
    workflows: Mapping[Name, Workflow] = field(default_factory=dict)
    models: Mapping[Name, Model] = field(default_factory=dict)
    http: HttpSettings = field(default_factory=HttpSettings)
    webhook: Webhook | None = None
    control: Control | None = None
    waivers: tuple[Waiver, ...] = ()
    expect: Expect = Expect()
    redact: tuple[Member, ...] = ()
    missing: Annotated[Mapping[str, str], NOT_IN_FILE] = field(default_factory=dict)
    source: Annotated[Path, NOT_IN_FILE] = Path()

    @cached_property
    def found_by_need(self) -> dict[object, object]:
        """Cache of ``Need.find``: many tests have the same need."""
        return {}

    def spending(self, asked_credits: float | None, *, by: str = "--credits") -> Target:
        """Return the target for a run that may cost at most ``asked_credits``, as option ``by`` says."""
        return replace(self, limits=self.limits.spending(asked_credits, by=by))

    def webhook_of(self, key: Persona) -> Webhook | None:
        """Return the webhook of a key: the profile's, with the key's own secret if it has one."""
        if self.webhook is None or key.webhook_secret == NO_SECRET:
            return self.webhook
        return replace(self.webhook, secret=key.webhook_secret)

    @property
    def is_built_in(self) -> bool:
        """Whether it is the sandbox that the harness starts: its keys and credits are worth nothing."""
        return self.source == _BUILT_IN

    @property
    def place(self) -> str:
        """The file where the user can change the profile, for messages; never one that ships with us."""
        if not self.is_built_in:
            return shown_path(self.source)
        return "a profile of your own for `knouds-harness sandbox`"

    @property
    def credits_remedy(self) -> str:
        """What the user can do if credits are short, for messages."""
        by = self.limits.credits_by
        return f"Raise {by}{f' in {self.place}' if by.startswith('limits.') else ''}, or send less."


def load_target(name: str, *, environ: Mapping[str, str] | None = None) -> Target:
    """Read a profile and the secrets that it names.

    ``name`` is that of a profile in ``./targets``, or the path of a ``.toml`` file.

    Raises:
        UnknownName: There is no such profile.
        GuardStop: The user has listed the hosts that keys may go to, and this target's is not among them.
        UsageError: There is no such file, the name is not a file name, or a file has the name of the built-in
            target.
        ProfileError: The profile is broken, or a required secret is missing; lists every problem.
    """
    source = _source(name)
    profile, problems = _read(source)
    secrets = SecretReader(environ=os.environ if environ is None else environ, folder=source.parent)
    base_url, problem = usable_base_url(
        profile.base_url,
        variable=profile.base_url_env,
        production=profile.production,
        plain_http=profile.plain_http,
        environ=secrets.environ,
    )
    hosts = None if source == _BUILT_IN else allowed_hosts()
    if hosts and base_url:
        hosts.require(base_url, where=f"{shown_path(source)}: base_url")
    personas = [_persona(key_name, key, secrets) for key_name, key in profile.personas.items()]
    webhook, control = profile.webhook, profile.control
    target = replace(
        profile,
        name=source.stem,
        source=source,
        base_url=base_url,
        personas={key.name: key for key in personas if key},
        workflows={slug: replace(each, slug=slug) for slug, each in profile.workflows.items()},
        models={model: replace(each, name=model) for model, each in profile.models.items()},
        webhook=webhook and _with_secret(webhook, secrets, where="webhook", label="webhook-secret"),
        control=control and _with_secret(control, secrets, where="control", label="control-token"),
        http=complete_http(profile.http, secrets),
        missing=secrets.missing,
    )
    problems += [*([problem] if problem else []), *secrets.problems, *_contradictions(profile, problems)]
    if problems:
        raise profile_error(source, problems)
    if hosts and target.http.via:  # with a ca_file it could read the keys
        hosts.require(target.http.via.url, where=f"{shown_path(source)}: http.proxy")
    return target


_Table = TypeVar("_Table", Webhook, Control)


def _with_secret(table: _Table, secrets: SecretReader, *, where: str, label: str) -> _Table | None:
    secret = secrets.read(table, where=where, label=label)
    return replace(table, secret=secret) if secret else None


def _persona(name: str, key: Persona, secrets: SecretReader) -> Persona | None:
    secret, signing = secrets.read(key, where=f"keys.{name}", label=f"key:{name}"), None
    if secret is None:
        return None
    if key.webhook_secret_env is not None:
        source = SecretSource(secret_env=key.webhook_secret_env, optional=key.optional)
        where, label = f"keys.{name}.webhook_secret_env", f"webhook-secret:{name}"
        signing = secrets.read(source, where=where, label=label, form=SIGNING_SECRET)
    return replace(key, name=name, secret=secret, webhook_secret=signing or NO_SECRET)


def variables_of(name: str) -> frozenset[str]:
    """Return the names of the environment variables that a profile names, set or not.

    Raises as ``load_target`` does, but without a look at secrets.
    """
    profile, _ = _read(_source(name))
    return frozenset(_variables_in(asdict(profile)))


def _variables_in(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from value.values() if key == "headers_env" else _variables_in(value)
        elif key.endswith("_env") and value is not None:
            yield value


def load_http(file: Path, *, environ: Mapping[str, str]) -> HttpSettings:
    """Read ``[http]`` of a file that may have no other table.

    Raises:
        ProfileError: The file is broken, or a variable that it names is missing.
        UsageError: The file has no ``[http]``.
    """
    profile, problems = _read(file)
    secrets = SecretReader(environ=environ, folder=file.parent)
    http = complete_http(profile.http, secrets)
    if problems or secrets.problems:
        raise profile_error(file, [*problems, *secrets.problems])
    if http == HttpSettings():
        raise UsageError(f"{file}: has no [http]\n  docs/profile-reference.md explains that table.")
    return http


_NAMED_SO: Final = "--target takes the file of a profile, or the name of one in targets/."


def target_names() -> list[str]:
    return sorted(_profiles())


_BUILT_IN: Final = builtin_targets_path() / f"{SANDBOX}.toml"


def _profiles() -> dict[str, Path]:
    files = [file for file in Path.cwd().glob("targets/*.toml") if not file.stem.endswith(".example")]
    return {file.stem: file for file in files} | {SANDBOX: _BUILT_IN}


def _refuse_reserved_name() -> None:
    """Refuse a file with the name of the built-in target, unless it is the same, as in our own repository."""
    file = Path.cwd() / "targets" / _BUILT_IN.name
    if file.exists() and not (file.is_file() and file_content(file) == file_content(_BUILT_IN)):
        raise UsageError(
            f'{shown_path(file)}: "{SANDBOX}" is the name of the built-in target\n'
            "  Rename the file to test its server, or remove it."
        )


def _source(name: str) -> Path:
    file, profiles = Path(name), _profiles()
    try:
        is_there, is_file = file.exists(), file.is_file()
    except OSError as error:  # the name is too long
        raise UsageError(f"{name}: {error.strerror}\n  {_NAMED_SO}") from None
    if is_file and name.endswith(".toml"):
        return file
    if name == SANDBOX:
        _refuse_reserved_name()
    if name in profiles:
        return profiles[name]
    if not (name.endswith(".toml") or "/" in name or file.is_dir()):
        raise UnknownName("target", name, profiles)
    near = [each for each in (f"{name}.toml", file.stem) if Path(each).is_file() or each in profiles]
    meant = f' Did you mean "{near[0]}"?' if near else ""
    what = "is not a file" if is_there else "there is no such file"
    raise UsageError(f"{name}: {what}\n  {_NAMED_SO}{meant}")


@cache
def _format() -> TypeAdapter[Target]:
    return TypeAdapter(Target)


def _read(source: Path) -> tuple[Target, list[Problem]]:
    """Read the file; return the profile without its malformed tables, and their problems."""
    try:
        content = tomllib.loads(file_text(source))
    except OSError as error:
        says, remedy = f"cannot be read: {error.strerror}", "Name a file that you may read."
        raise profile_error(source, [Problem(where="", says=says, remedy=remedy)]) from None
    except (ValueError, RecursionError) as error:
        says, remedy = f"is not valid TOML: {error}", "Fix the file at that place."
        raise profile_error(source, [Problem(where="", says=says, remedy=remedy)]) from None
    try:
        return _format().validate_python(content, context=AS_A_PROFILE), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        for details in found:
            _remove(content, details["loc"])
        problems = [shape_problem(details, Target) for details in found]
        return _format().validate_python(content, context=AS_A_PROFILE), problems


def _remove(content: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Remove the malformed table, so that the rest can still be checked."""
    section = content.get(str(location[0]))
    if location[0] in ("keys", "workflows", "models") and isinstance(section, dict) and len(location) > 1:
        section.pop(location[1], None)
    else:
        content.pop(str(location[0]), None)


def _contradictions(profile: Target, known: Sequence[Problem]) -> Iterator[Problem]:
    """Yield where one table contradicts another; what is broken itself is ``known``."""
    first_by_user: dict[str, Persona] = {}
    has_webhook = profile.webhook or any(problem.where.startswith("webhook") for problem in known)
    for name, key in profile.personas.items():
        first = first_by_user.setdefault(key.user, replace(key, name=name))
        for what in ("tier", "role"):
            here, there = getattr(key, what), getattr(first, what)
            if here != there:
                yield Problem(
                    where=f"keys.{name}.{what}",
                    says=f'"{here}" contradicts "{there}" in keys.{first.name}, also of user "{key.user}"',
                    remedy=f"Correct the {what}, or the user, of one of them.",
                )
        if key.webhook and not has_webhook:
            yield Problem(
                where=f"keys.{name}.webhook",
                says="is true, but the profile has no [webhook]",
                remedy="Add [webhook] with the url and the secret that are set for the key, or remove "
                "this line.",
            )
    for slug, workflow in profile.workflows.items():
        # An owner without a key is fine, unless it differs from the user of a key only in spelling.
        meant = [user for user in first_by_user if _plain(user) == _plain(workflow.owner)]
        if meant and workflow.owner not in meant:
            yield Problem(
                where=f"workflows.{slug}.owner",
                says=f'no key has the user "{workflow.owner}"',
                remedy=f'Did you mean "{meant[0]}"?',
            )


def _plain(user: str) -> str:
    return user.strip().casefold()
