"""Targets, read from their profiles."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from knouds_harness.contract.operations import Action
from knouds_harness.errors import UnknownName, UsageError
from knouds_harness.file_content import file_text
from knouds_harness.locations import builtin_targets_path
from knouds_harness.targets.address import address_problems, receiver_address
from knouds_harness.targets.http_settings import HttpSettings, read_http
from knouds_harness.targets.limits import Limits
from knouds_harness.targets.personas import Persona
from knouds_harness.targets.problems import Problem, profile_error, shape_problems, shown_path
from knouds_harness.targets.profile_format import LimitsTable, ProfileTable, WaiverTable
from knouds_harness.targets.resources import Control, Model, Webhook, Workflow
from knouds_harness.targets.secrets import SecretReader
from knouds_harness.targets.waivers import Waiver

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
    """What a check of the target has to verify.

    Attributes:
        facts: Ids of facts.
        families: Families of checks, all of whose documented facts have to be verified.
    """

    facts: tuple[str, ...] = ()
    families: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to test, with which keys and resources, within which limits.

    Attributes:
        name: The profile's name.
        base_url: Scheme, host, port and perhaps a path; no slash at the end.
        production: Whether real users are on it; then the command line has to agree to each run.
        limits: Limits that the guards keep.
        personas: Keys by name; those whose secret is missing are absent.
        workflows: Known workflows by slug.
        models: Known models by internal name.
        http: Headers, certificates and proxy of every request.
        webhook: Address where deliveries arrive, if any.
        waivers: Findings that are accepted for a while.
        control: The control plane, if it has one.
        missing: Parts of the profile that this machine lacks: name, such as ``keys.pro``, to reason.
        source: The profile's file.
        expect: Facts and families that a check has to verify.
        redact: Names of JSON members whose values are never kept.
        base_url_variable: The environment variable that holds the base URL; empty where the profile does.
    """

    name: str
    base_url: str
    production: bool = False
    limits: Limits = field(default_factory=Limits)
    personas: Mapping[str, Persona] = field(default_factory=dict)
    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    http: HttpSettings = field(default_factory=HttpSettings)
    webhook: Webhook | None = None
    waivers: tuple[Waiver, ...] = ()
    control: Control | None = None
    redact: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    source: Path = Path()
    expect: Expect = Expect()
    base_url_variable: str = ""

    def spending(self, asked_credits: float | None, *, by: str = "--credits") -> Target:
        """The same for a run that was asked to cost at most so much, by this option."""
        return replace(self, limits=self.limits.spending(asked_credits, by=by))

    @property
    def place(self) -> str:
        """The file to change the profile in, for messages: not the one that comes with the harness."""
        if self.source.parent != builtin_targets_path() or self.source.is_relative_to(Path.cwd()):
            return shown_path(self.source)
        return f"targets/{self.source.name} (copy the built-in one there: {self.source})"

    @property
    def credits_remedy(self) -> str:
        """What to do where credits are short."""
        by = self.limits.credits_by
        return f"Raise {by}{f' in {self.place}' if by.startswith('limits.') else ''}, or send less."


def load_target(
    name: str, *, environ: Mapping[str, str] | None = None, search: Sequence[Path] | None = None
) -> Target:
    """Read one profile and the secrets that it names.

    Args:
        name: Name of a profile in one of the folders, or path of a ``.toml`` file.
        environ: Environment variables; the process's own by default.
        search: Folders of profiles, first one first; by default ``targets`` here, then the built-in ones.

    Raises:
        UnknownName: There is no such profile.
        UsageError: There is no such file.
        ProfileError: The profile is broken, or a secret that is not optional is missing; lists every problem.
    """
    source = _profile_path(name, _folders(search))
    table, problems = _read(source)
    secrets = SecretReader(environ=os.environ if environ is None else environ, folder=source.parent)
    base_url, problems_of_address = address_problems(table, secrets.environ)
    personas = {}
    for key_name, key in table.keys.items():
        secret = secrets.read(key, where=f"keys.{key_name}", label=f"key:{key_name}")
        if secret:
            personas[key_name] = Persona(
                name=key_name,
                secret=secret,
                capabilities=frozenset(key.capabilities),
                user=key.user,
                tier=key.tier,
                role=key.role,
                state=key.state,
                credits=key.credits,
                webhook=key.webhook,
            )
    webhook = None
    if table.webhook:
        secret = secrets.read(table.webhook, where="webhook", label="webhook-secret")
        listen, problems_of_receiver = receiver_address(table.webhook)
        problems += problems_of_receiver
        if secret:
            webhook = Webhook(
                url=table.webhook.url,
                secret=secret,
                listen=listen,
                deadline_s=table.webhook.deadline_s,
            )
    control = None
    if table.control:
        secret = secrets.read(table.control, where="control", label="control-token")
        control = Control(token=secret, path=table.control.path) if secret else None
    http = read_http(table.http, secrets)
    problems += [
        *problems_of_address,
        *secrets.problems,
        *_account_problems(table),
        *_owner_problems(table),
        *_webhook_problems(table, problems),
        *_waiver_problems(table.waivers),
    ]
    if problems:
        raise profile_error(source, problems)
    return Target(
        name=source.stem,
        base_url=base_url,
        production=bool(table.production),
        limits=_limits(table.limits),
        personas=personas,
        workflows={slug: Workflow(slug=slug, **dict(each)) for slug, each in table.workflows.items()},
        models={model: Model(name=model, **dict(each)) for model, each in table.models.items()},
        http=http,
        webhook=webhook,
        waivers=tuple(Waiver(**dict(each)) for each in table.waivers),
        control=control,
        redact=tuple(table.redact),
        missing=secrets.missing,
        source=source,
        expect=Expect(facts=tuple(table.expect.facts), families=tuple(table.expect.families)),
        base_url_variable=table.base_url_env or "",
    )


def load_http(file: Path, *, environ: Mapping[str, str]) -> HttpSettings:
    """Read ``[http]`` of a file that need hold nothing else.

    Raises:
        ProfileError: It is broken, or a variable that it names is missing.
        UsageError: It has no such table.
    """
    table, problems = _read(file)
    secrets = SecretReader(environ=environ, folder=file.parent)
    http = read_http(table.http, secrets)
    if problems or secrets.problems:
        raise profile_error(file, [*problems, *secrets.problems])
    if http == HttpSettings():
        raise UsageError(f"{file}: has no [http]\n  docs/profile-reference.md explains that table.")
    return http


def target_names(search: Sequence[Path] | None = None) -> list[str]:
    """Every profile that ``load_target`` finds by name."""
    return sorted(_profiles(_folders(search)))


def _folders(search: Sequence[Path] | None) -> Sequence[Path]:
    return (Path.cwd() / "targets", builtin_targets_path()) if search is None else search


def _profiles(folders: Sequence[Path]) -> dict[str, Path]:
    files = [file for folder in reversed(folders) for file in folder.glob("*.toml")]
    return {file.stem: file for file in files if not file.stem.endswith(".example")}


def _profile_path(name: str, folders: Sequence[Path]) -> Path:
    if name.endswith(".toml") and Path(name).is_file():
        return Path(name)
    profiles = _profiles(folders)
    is_folder = Path(name).is_dir() and name not in profiles
    if name.endswith(".toml") or "/" in name or is_folder:
        other = "is no file" if Path(name).exists() else "there is no such file"
        what = "is a folder" if is_folder else other
        near = [f"{name}.toml"] if Path(f"{name}.toml").is_file() else []
        near += [Path(name).stem] if Path(name).stem in profiles else []
        raise UsageError(
            f"{name}: {what}\n  --target takes the file of a profile, or the name of one in targets/."
            + (f' Did you mean "{near[0]}"?' if near else "")
        )
    if name not in profiles:
        raise UnknownName("target", name, profiles)
    return profiles[name]


def _read(source: Path) -> tuple[ProfileTable, list[Problem]]:
    """Read the file; what is misshapen is named in the problems and absent from the table."""
    try:
        content = tomllib.loads(file_text(source))
    except tomllib.TOMLDecodeError as error:
        problem = Problem(where="", says=f"is not valid TOML: {error}", remedy="Mend the file at that place.")
    except UnicodeDecodeError as error:
        problem = Problem(
            where="", says=f"is not UTF-8 text (byte {error.start})", remedy="Save the file as UTF-8."
        )
    except ValueError:  # Python reads no number of more than 4,300 digits
        problem = Problem(where="", says="has a number that is too long", remedy="Write a shorter one.")
    except RecursionError:
        problem = Problem(where="", says="is nested too deeply", remedy="Write the tables of a profile.")
    except OSError as error:
        remedy = "Name a file." if isinstance(error, IsADirectoryError) else "Check its permissions."
        problem = Problem(where="", says=f"cannot be read: {error.strerror}", remedy=remedy)
    else:
        try:
            return ProfileTable.model_validate(content), []
        except ValidationError as error:
            for details in error.errors(include_url=False):
                _remove(content, details["loc"])
            return ProfileTable.model_validate(content), shape_problems(error, ProfileTable)
    raise profile_error(source, [problem])


def _remove(content: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Remove the misshapen table, so that the rest can still be judged."""
    section = content.get(str(location[0]))
    if location[0] in ("keys", "workflows", "models") and isinstance(section, dict) and len(location) > 1:
        section.pop(location[1], None)
    else:
        content.pop(str(location[0]), None)


def _limits(table: LimitsTable) -> Limits:
    return Limits(**{**dict(table), "allow": frozenset(Action(each) for each in table.allow)})


def _account_problems(table: ProfileTable) -> list[Problem]:
    """Personas of one account have to agree on what the account is."""
    problems = []
    first_key_by_user: dict[str, str] = {}
    for name, key in table.keys.items():
        first = first_key_by_user.setdefault(key.user, name)
        for property_name in ("tier", "role"):
            here, there = getattr(key, property_name), getattr(table.keys[first], property_name)
            if here != there:
                problems.append(
                    Problem(
                        where=f"keys.{name}.{property_name}",
                        says=f'"{here}" contradicts "{there}" in keys.{first}, of the same user "{key.user}"',
                        remedy=f"Correct the {property_name}, or the user, of one of them.",
                    )
                )
    return problems


def _owner_problems(table: ProfileTable) -> list[Problem]:
    """An owner may have no key here, but not differ from one that has in the spelling alone."""
    users = {key.user for key in table.keys.values()}
    problems = []
    for slug, workflow in table.workflows.items():
        meant = [user for user in users if user.strip().casefold() == workflow.owner.strip().casefold()]
        if meant and workflow.owner not in users:
            says = f'no key has the user "{workflow.owner}"'
            remedy = f'Did you mean "{meant[0]}"?'
            problems.append(Problem(where=f"workflows.{slug}.owner", says=says, remedy=remedy))
    return problems


def _webhook_problems(table: ProfileTable, known: Sequence[Problem]) -> list[Problem]:
    """A key cannot have a webhook that the profile does not name; one that it misspells is known already."""
    if any(problem.where.startswith("webhook") for problem in known):
        return []
    return [
        Problem(
            where=f"keys.{name}.webhook",
            says="is true, and the profile has no [webhook]",
            remedy="Add [webhook] with the url and the secret that are set for the key, or remove this line.",
        )
        for name, key in table.keys.items()
        if key.webhook and table.webhook is None
    ]


def _waiver_problems(waivers: Sequence[WaiverTable]) -> list[Problem]:
    return [
        Problem(
            where=f"waivers[{position}]",
            says="does not say which findings it accepts",
            remedy="Name a fingerprint, or a fact, or a check together with an operation.",
        )
        for position, waiver in enumerate(waivers)
        if not (waiver.fingerprint or waiver.fact or (waiver.check and waiver.operation))
    ]
