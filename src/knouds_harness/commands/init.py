"""``knouds-harness init``: write the profile of a server from what it tells about a few keys."""

from __future__ import annotations

import getpass
import os
import re
import sys
import textwrap
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.files import append_to_file, replace_file
from knouds_harness.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

    from knouds_harness.targets.allowed_hosts import AllowedHosts
    from knouds_harness.targets.personas import Persona, Secret
    from knouds_harness.targets.profile import Target
    from knouds_harness.targets.profile_writer import Found, FoundKey, RefusedKey

_Key = TypeVar("_Key", "FoundKey", "RefusedKey")

_FOLDER = Path("targets")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_OF_KEY = re.compile(r"([A-Z][A-Z0-9_]*?)(?:_API)?_KEY(?:_[A-Z0-9_]+)?")
_WHY_REFUSED = (
    "A key is mistyped or revoked, or its account is not approved; or the server refuses a valid key"
)


@click.command()
@click.option("--url", metavar="URL", help="Address of the server, without /api")
@click.option(
    "--key",
    "variables",
    multiple=True,
    metavar="VARIABLE",
    help="Environment variable that holds a key (repeatable)",
)
@click.option(
    "--add",
    "added",
    multiple=True,
    metavar="VARIABLE",
    help="Add the key of this environment variable to a profile that exists (repeatable)",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="VARIABLE=OTHER",
    help="State that a refused key belongs to the account of another key (repeatable)",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Profile to write, or add to [default: targets/NAME.toml; NAME is that of the host, or key]",
)
@click.option("--force", is_flag=True, help="Overwrite an existing profile")
@click.option("--plain-http", is_flag=True, help="Allow sending keys over http:// to another machine")
@click.option(
    "--http",
    "http_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with an [http] table (headers, proxy, certificates) for the profile",
)
@click.option(
    "--yes-production/--no-production",
    default=None,
    help="State whether real people use the server; required for hosts under knouds.ai",
)
def init(
    *,
    url: str | None,
    variables: tuple[str, ...],
    added: tuple[str, ...],
    accounts: tuple[str, ...],
    output: Path | None,
    force: bool,
    plain_http: bool,
    http_file: Path | None,
    yes_production: bool | None,
) -> None:
    """Write the profile of your own server.

    Asks the server what your keys may do. Keys are named by the environment variables that hold them. Sends
    only reads, and requests that can have no effect even if the server lets them in: nothing is written, run
    or paid for.

    \b
      knouds-harness init --url https://staging.example.com --key STAGING_KEY
      knouds-harness init --url https://staging.example.com --key STAGING_KEY --key OTHER_KEY --force
      knouds-harness init --add THIRD_KEY --output targets/staging.toml
      knouds-harness init --add OLD_KEY --account OLD_KEY=STAGING_KEY
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.first_contact import first_contact
    from knouds_harness.suite.discovery.discovery import Discovery
    from knouds_harness.targets.guards import Guard
    from knouds_harness.targets.http_settings import HttpSettings
    from knouds_harness.targets.profile import Target, load_http, load_target
    from knouds_harness.targets.profile_writer import http_text, profile_text

    if added:
        if url or variables or force or http_file or plain_http:
            raise UsageError(
                "--add takes the address, and all but keys, from the profile: leave out the rest"
            )
        _add(added, output or _only_profile(), accounts, yes_production=bool(yes_production))
    url, variables = _complete(url, variables)
    _check_accounts(accounts, variables)
    base_url = _base_url(url, production=yes_production, plain_http=plain_http)
    file = output or _FOLDER / f"{_name_of(base_url, variables)}.toml"
    _check_file(file, force=force)
    hosts = _hosts_with(base_url)
    environ = _environ(variables)
    secrets = _secrets(variables, environ)
    http = load_http(http_file, environ=environ) if http_file else HttpSettings()
    if hosts and http.via:
        hosts.require(http.via.url, where=f"{http_file}: http.proxy")
    target = Target(
        name=file.stem,
        base_url=base_url,
        production=bool(yes_production),
        http=http,
        personas={secret.label.removeprefix("key:"): _unknown_persona(secret) for secret in secrets.values()},
    )
    console = CommandConsole()
    with Client(target=target, guard=Guard(target, yes_production=bool(yes_production))) as client:
        first_contact(client, address="--url")
        _say(console, f"{base_url} answers. Sending reads, and requests that can have no effect.")
        variable_by_persona = dict(zip(target.personas, secrets, strict=True))
        found = Discovery(client, shipped_document(), variables=variable_by_persona).find_all()
    if not found.keys:
        raise UsageError(
            f"{base_url} refuses every key ({_refusals(found)}), and nothing was written\n  {_WHY_REFUSED}."
        )
    found = replace(found, production=yes_production, plain_http=plain_http)
    found = _with_accounts(found, accounts, {each.variable: (each.user, each.tier) for each in found.keys})
    name = file.stem if file.parent == _FOLDER else str(file)
    text = profile_text(found, target=name) + (http_text(http) if http_file else "")
    _write(file, text, force=force)
    _ignore_runs()
    _print_found(found, console)
    _say(console, f"Wrote {file}: it allows only reads, and no credits.")
    _print_reach(load_target(str(file), environ=environ), console)
    unset = [each for each in variables if environ[each] != os.environ.get(each)]
    _print_next(name, unset, console, target, is_host_listed=hosts is not None)
    sys.exit(ExitCode.BREACH if found.refused else ExitCode.KEPT)


def _complete(url: str | None, variables: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Prompt for what is missing, if there is a terminal."""
    if not (url and variables) and not sys.stdin.isatty():
        raise UsageError(
            "init needs --url and --key: the address of a server, and the name of an environment variable "
            "that holds a key"
        )
    url = url or click.prompt("Address of the server", err=True)
    if not variables:
        variables = tuple(click.prompt("Environment variables that hold keys", err=True).split())
    return url, _variables(variables, option="--key")


def _variables(variables: Sequence[str], *, option: str) -> tuple[str, ...]:
    if any(not _VARIABLE.fullmatch(each) for each in variables):
        raise UsageError(
            f"{option} takes the name of an environment variable, such as STAGING_KEY, never the key itself\n"
            "  Replace a key that others may have seen: command lines are kept by shells and shown to others."
        )
    return tuple(dict.fromkeys(variables))


def _only_profile() -> Path:
    files = sorted(_FOLDER.glob("*.toml"))
    if len(files) != 1:
        raise UsageError(f"--add needs --output FILE, the profile to add to: {_FOLDER} holds {len(files)}")
    return files[0]


def _check_accounts(accounts: Sequence[str], variables: Sequence[str]) -> None:
    for each in accounts:
        refused, _, other = each.partition("=")
        if refused not in variables or not _VARIABLE.fullmatch(other):
            raise UsageError(
                "--account takes VARIABLE=OTHER, two names of environment variables: of a key that is given "
                "here, and of one of the same account"
            )


def _with_accounts(
    found: Found, accounts: Sequence[str], account_by_variable: Mapping[str, tuple[str, str]]
) -> Found:
    """Put refused keys with the accounts that the user names; on a terminal, ask for what is not named.

    Raises:
        UsageError: A key that should name an account is of none that is known.
    """
    from knouds_harness.targets.profile_writer import UNKNOWN_TIER

    known = {name: each for name, each in account_by_variable.items() if each[1] != UNKNOWN_TIER}
    named = dict(each.split("=", 1) for each in accounts)

    def told(key: _Key) -> _Key:
        other = named.get(key.variable, "")
        if key.tier != UNKNOWN_TIER:
            return key
        if not other and known and sys.stdin.isatty():
            question = f"{key.variable} is refused. Variable of a key of the same account, if any"
            other = click.prompt(question, default="", show_default=False, err=True)
        if other and other not in known:
            raise UsageError(
                f"{key.variable}: its account is unknown, as the server does not admit the key in {other} "
                f"(it admits {', '.join(filter(None, known)) or 'none'})"
            )
        user, tier = known.get(other, (key.user, key.tier))
        return replace(key, user=user, tier=tier)

    return replace(found, keys=tuple(map(told, found.keys)), refused=tuple(map(told, found.refused)))


def _add(variables: Sequence[str], file: Path, accounts: Sequence[str], *, yes_production: bool) -> NoReturn:
    """Ask the server about more keys, and append them to a profile.

    The keys of the profile are asked about, too: so a key of an account that it has gets that account's name.
    """
    from knouds_harness.command_output import CommandConsole
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.first_contact import first_contact
    from knouds_harness.suite.discovery.discovery import Discovery
    from knouds_harness.targets.guards import Guard
    from knouds_harness.targets.profile import load_target
    from knouds_harness.targets.profile_writer import added_text

    variables = _variables(variables, option="--add")
    _check_accounts(accounts, variables)
    environ = _environ(variables)
    profile = load_target(str(file), environ=environ)
    secrets = _secrets(variables, environ, taken=profile.personas)
    new = {secret.label.removeprefix("key:"): _unknown_persona(secret) for secret in secrets.values()}
    known = {each.secret.reveal(): each.name for each in profile.personas.values()}
    for variable, secret in secrets.items():
        if name := known.get(secret.reveal()):
            raise UsageError(f"{variable} holds the key that {file} has as [keys.{name}]")
    console = CommandConsole()
    target = replace(profile, personas={**profile.personas, **new})
    with Client(target=target, guard=Guard(target, yes_production=yes_production)) as client:
        first_contact(client)
        named = {
            **{name: f"[keys.{name}]" for name in profile.personas},
            **dict(zip(new, secrets, strict=True)),
        }
        found = Discovery(client, shipped_document(), variables=named).find_all()
    found = _only_new(found, profile, new)
    of_profile = {each.secret.variable: (each.user, each.tier) for each in profile.personas.values()}
    of_new = {each.variable: (each.user, each.tier) for each in found.keys}
    found = _with_accounts(found, accounts, {**of_profile, **of_new})
    _append(file, added_text(found))
    _print_found(found, console)
    _say(console, f"Added to {file}: {', '.join(f'[keys.{each}]' for each in new)}. Nothing else changed.")
    sys.exit(ExitCode.BREACH if found.refused else ExitCode.KEPT)


def _only_new(found: Found, profile: Target, new: Mapping[str, Persona]) -> Found:
    """Leave out what the profile has; accounts get the names that they have there, or free ones."""
    users = {each.user: profile.personas[each.name].user for each in found.keys if each.name not in new}
    taken = {each.user for each in profile.personas.values()}
    for user in dict.fromkeys(each.user for each in found.keys if each.user not in users):
        names = chain([user], (f"{user}-{number}" for number in count(2)))
        users[user] = next(name for name in names if name not in taken)
        taken.add(users[user])
    return replace(
        found,
        keys=tuple(replace(each, user=users[each.user]) for each in found.keys if each.name in new),
        refused=tuple(each for each in found.refused if each.name in new),
        workflows=tuple(
            replace(
                each,
                workflow=replace(each.workflow, owner=users.get(each.workflow.owner, each.workflow.owner)),
            )
            for each in found.workflows
            if each.workflow.slug not in profile.workflows
        ),
    )


def _append(file: Path, added: str) -> None:
    """Append tables to a profile, if it stays TOML."""
    try:
        text = file.read_text(encoding="utf-8")
        appended = added if text.endswith("\n") else f"\n{added}"
        tomllib.loads(text + appended)
        append_to_file(file.parent, file.name, appended.encode())
    except tomllib.TOMLDecodeError:
        raise UsageError(
            f"{file}: its tables are written so that none can be appended\n  Add by hand:\n{added}"
        ) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def _base_url(url: str, *, production: bool | None, plain_http: bool) -> str:
    """Return the address in the form of profiles.

    Raises:
        UsageError: It is not a valid address.
        GuardStop: It is, or may be, production, and no option allows that.
    """
    from knouds_harness.targets.address import address_problems, host_of, is_production_host

    base_url, problems = address_problems(url, production=production, plain_http=plain_http, environ={})
    if not problems and is_production_host(host_of(base_url)) and not production:
        raise GuardStop(
            f"{base_url} is the production service: its keys, workflows and credits are real\n"
            "  Give the address of a staging server instead, or pass --yes-production."
        )
    for problem in problems:
        if problem.where == "production":
            raise GuardStop(
                f"{host_of(base_url)} may be production\n"
                "  Pass --no-production if no real people use it, else --yes-production."
            )
        remedy = "Give scheme, host and perhaps a port, without /api: --url https://staging.example.com"
        if problem.says.startswith("http://"):
            remedy = "Write https://, or pass --plain-http if you trust that network."
        raise UsageError(f"--url: {problem.says}\n  {remedy}")
    return base_url


def _hosts_with(base_url: str) -> AllowedHosts | None:
    """Return the hosts that keys may go to; on a terminal, offer to add the server's to the user's file.

    Raises:
        GuardStop: There is a list, and the server's host is not on it.
    """
    from knouds_harness.targets.address import host_of, is_loopback
    from knouds_harness.targets.allowed_hosts import (
        HOSTS_VARIABLE,
        allow_host,
        allowed_hosts,
        entry_of,
        hosts_file,
    )

    hosts, entry = allowed_hosts(), entry_of(base_url)
    is_offered = hosts is None and not is_loopback(host_of(base_url))
    is_offered |= hosts is not None and entry not in hosts.entries and HOSTS_VARIABLE not in os.environ
    if is_offered and sys.stdin.isatty():
        question = f"Allow keys to be sent to {entry}, and only to hosts in {hosts_file()}?"
        if click.confirm(question, err=True):
            allow_host(entry)
            hosts = allowed_hosts()
    if hosts:
        hosts.require(base_url, where="--url")
    return hosts


def _name_of(base_url: str, variables: Sequence[str]) -> str:
    """Name the profile after the host's first label, or a whole IP address.

    A profile for this machine is named after the first key: ``staging`` for STAGING_KEY.
    """
    from knouds_harness.targets.address import host_of, is_loopback

    host = host_of(base_url)
    if is_loopback(host):
        named = _OF_KEY.fullmatch(variables[0])
        return named[1].lower().replace("_", "-") if named else "local"
    first = host.partition(".")[0]
    return re.sub("[^a-z0-9]+", "-", host if first.isdigit() else first).strip("-") or "target"


def _check_file(file: Path, *, force: bool) -> None:
    if file.suffix != ".toml":
        raise UsageError(f"{file}: a profile's name ends with .toml")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: give --output the name of a file")
    if not file.parent.is_dir() and file.parent != _FOLDER:
        raise UsageError(f"{file}: there is no folder {file.parent}\n  Make it, or choose another --output.")
    if file.exists() and not force:
        raise UsageError(f"{file} exists\n  Pass --force to overwrite it, or choose another --output.")


def _environ(variables: Sequence[str]) -> Mapping[str, str]:
    """Return the environment; the user types missing keys, hidden."""
    missing = [each for each in variables if not os.environ.get(each, "").strip()]
    if missing and not sys.stdin.isatty():
        raise UsageError(
            f"environment variable {', '.join(missing)} is not set: it has to hold a key\n"
            f"  Set it without showing it: read -rs {missing[0]} && export {missing[0]}"
        )
    return {**os.environ, **{variable: _typed(variable) for variable in missing}}


def _typed(variable: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # else getpass shows what is typed
        try:
            return getpass.getpass(f"{variable} is not set. The key, hidden and for this time only: ")
        except getpass.GetPassWarning:
            raise UsageError(
                f"environment variable {variable} is not set, and this terminal cannot hide what is typed"
            ) from None
        except EOFError:
            raise click.Abort from None


def _secrets(
    variables: Sequence[str], environ: Mapping[str, str], *, taken: Iterable[str] = ()
) -> dict[str, Secret]:
    """Read the keys, by variable; the label of each is that of its persona's key.

    Raises:
        UsageError: A variable does not hold a key, or holds the same key as another.
    """
    from knouds_harness.targets.personas import SecretSource
    from knouds_harness.targets.secrets import SecretReader

    reader = SecretReader(environ=environ, folder=Path())
    names = list(taken)
    secrets: dict[str, Secret] = {}
    for variable in variables:
        whole = re.sub("[^a-z0-9]+", "-", variable.lower()).strip("-") or "key"
        short = whole.partition("-key-")[2] or whole
        if short == "key":  # PENDING_KEY_KEY
            short = whole.removesuffix("-key")
        names.append(short if short not in names else whole)
        secret = reader.read(SecretSource(secret_env=variable), where=variable, label=f"key:{names[-1]}")
        if secret:
            secrets[variable] = secret
    if reader.problems:
        raise UsageError("\n".join(f"{each.where}: {each.says}\n  {each.remedy}" for each in reader.problems))
    return secrets


def _unknown_persona(secret: Secret) -> Persona:
    from knouds_harness.targets.personas import Persona

    name = secret.label.removeprefix("key:")
    return Persona(name=name, secret=secret, capabilities=frozenset(), user=name, tier="unknown")


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        if file.parent == _FOLDER:
            file.parent.mkdir(exist_ok=True)
        _check_file(file, force=force)  # again: asking may have taken long
        replace_file(file.parent, file.name, text.encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def _ignore_runs() -> None:
    """Have git ignore the folder of runs, as their records are large and of servers."""
    ignored = Path("reports") / ".gitignore"
    if not ignored.exists():
        with suppress(OSError):  # a check says if it cannot write there
            ignored.parent.mkdir(exist_ok=True)
            replace_file(ignored.parent, ignored.name, b"runs/\n")


def _print_found(found: Found, console: Console) -> None:
    for key in found.keys:
        _say(console, f"  {key.variable}: {_holds(key)}")
    for refused in found.refused:
        _say(
            console,
            f"  {refused.variable}: refused ({refused.answer}). {_WHY_REFUSED}. "
            f"[keys.{refused.name}] is a comment.",
        )
    for user in dict.fromkeys(each.workflow.owner for each in found.workflows):
        slugs = [each.workflow.slug for each in found.workflows if each.workflow.owner == user]
        _say(console, f"  workflows of {user}: {', '.join(slugs)}")
    if found.models:
        _say(console, f"  models that usage or pricing name, as comments: {', '.join(sorted(found.models))}")
    for remark in found.remarks:
        _say(console, f"  {remark}")


def _holds(key: FoundKey) -> str:
    if key.state != "active":
        return f"{key.state}, says the server; written as a key of account {key.user} ({key.tier})"
    open_ = [f"{name} ({why})" for name, why in key.unknown_capabilities.items() if name != "webhook:receive"]
    held = ", ".join(key.capabilities) or "nothing that shows"
    unknown = f"; not told: {', '.join(open_)}" if open_ else ""
    return f"account {key.user} ({key.tier}), holds {held}{unknown}"


def _refusals(found: Found) -> str:
    return ", ".join(f"{key.variable}: {key.answer}" for key in found.refused)


def _print_reach(target: Target, console: Console) -> None:
    """Say what a check can verify with the profile, and what would let it verify more."""
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.suite.discovery.advice import print_advice
    from knouds_harness.suite.discovery.provable_facts import provable_facts

    verified, total = len(provable_facts(target)), len(shipped_document().facts)
    _say(console, f"A check with it can verify at least {verified} of {total} facts.")
    print_advice(target, console)


def _print_next(
    name: str, unset: Sequence[str], console: Console, target: Target, *, is_host_listed: bool
) -> None:
    from knouds_harness.targets.address import host_of, is_loopback
    from knouds_harness.targets.allowed_hosts import HOSTS_VARIABLE, entry_of

    _say(console, "Next:")
    if not is_host_listed and not is_loopback(host_of(target.base_url)):
        _say(console, f"  export {HOSTS_VARIABLE}={entry_of(target.base_url)}  # keys go to no other host")
    for variable in unset:
        _say(console, f"  read -rs {variable} && export {variable}")
    agreement = " --yes-production" if target.production else ""
    _say(console, f"  knouds-harness check --target {name}{agreement}")


def _say(console: Console, line: str) -> None:
    """Print one line: wrapped between words on a terminal, unwrapped in a file or pipe."""
    from rich.text import Text

    plain = printable(line, keep="")
    if console.is_terminal:
        indent = " " * (len(plain) - len(plain.lstrip()))
        plain = textwrap.fill(
            plain,
            console.width,
            subsequent_indent=f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    console.print(Text(plain), soft_wrap=True)
