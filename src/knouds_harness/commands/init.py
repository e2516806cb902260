"""``knouds-harness init``: write the profile of a server from what it tells about a few keys."""

from __future__ import annotations

import getpass
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.files import replace_file

if TYPE_CHECKING:
    from knouds_harness.targets.address import AllowedHosts
    from knouds_harness.targets.personas import Persona
    from knouds_harness.targets.profile import Target
    from knouds_harness.targets.profile_writer import Found

_FOLDER = Path("targets")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


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
    from knouds_harness.command_output import CommandConsole, print_line
    from knouds_harness.targets.http_settings import HttpSettings
    from knouds_harness.targets.profile import Target, load_http, load_target
    from knouds_harness.targets.profile_writer import WHY_REFUSED, http_text, profile_name, profile_text

    say = partial(print_line, console=CommandConsole())
    if added:
        if url or variables or force or http_file or plain_http:
            raise UsageError(
                "--add takes the address, and all but keys, from the profile: leave out the rest"
            )
        found = _add(added, output or _only_profile(), accounts, say, yes_production=bool(yes_production))
        sys.exit(ExitCode.BREACH if found.refused else ExitCode.KEPT)
    url, variables = _complete(url, variables)
    _check_accounts(accounts, variables)
    base_url = _base_url(url, production=yes_production, plain_http=plain_http)
    file = output or _FOLDER / f"{profile_name(base_url, variables)}.toml"
    _check_file(file, force=force)
    hosts = _hosts_with(base_url)
    environ = _environ(variables)
    personas = _personas(variables, environ)
    http = load_http(http_file, environ=environ) if http_file else HttpSettings()
    if hosts and http.via:
        hosts.require(http.via.url, where=f"{http_file}: http.proxy")
    target = Target(
        name=file.stem, base_url=base_url, production=bool(yes_production), http=http, personas=personas
    )
    found = _found(target, accounts, say, yes_production=bool(yes_production), address="--url")
    if len(found.refused) == len(found.keys):
        refusals = ", ".join(f"{key.variable}: {key.refusal}" for key in found.refused)
        raise UsageError(
            f"{base_url} refuses every key ({refusals}), and nothing was written\n  {WHY_REFUSED}."
        )
    found = replace(found, production=yes_production, plain_http=plain_http)
    name = file.stem if file.parent == _FOLDER else str(file)
    text = profile_text(found, target=name) + (http_text(http) if http_file else "")
    _write(file, text, force=force)
    _ignore_runs()
    unset = [each for each in variables if environ[each] != os.environ.get(each)]
    profile = load_target(str(file), environ=environ)
    for line in (
        *found.lines(),
        f"Wrote {file}: it allows only reads, and no credits.",
        *_next_lines(name, unset, profile, is_host_listed=hosts is not None),
    ):
        say(line)
    sys.exit(ExitCode.BREACH if found.refused else ExitCode.KEPT)


def _found(
    target: Target,
    accounts: Sequence[str],
    say: Callable[[str], object],
    *,
    yes_production: bool,
    address: str | None = None,
) -> Found:
    """Ask a server about the keys of a target; put refused ones with the accounts that the user names."""
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.first_contact import first_contact
    from knouds_harness.suite.discovery.discovery import Discovery
    from knouds_harness.targets.guards import Guard

    variables = {key.name: key.secret.variable or f"[keys.{key.name}]" for key in target.personas.values()}
    with Client(target=target, guard=Guard(target, yes_production=yes_production)) as client:
        first_contact(client, address=address)
        say(f"{target.base_url} answers. Sending reads, and requests that can have no effect.")
        found = Discovery(client, shipped_document(), variables=variables).find_all()
    return found.with_accounts(dict(each.split("=", 1) for each in accounts))


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
    pairs = [each.partition("=") for each in accounts]
    if any(refused not in variables or not _VARIABLE.fullmatch(other) for refused, _, other in pairs):
        raise UsageError(
            "--account takes VARIABLE=OTHER, two names of environment variables: of a key that is given "
            "here, and of one of the same account"
        )


def _add(
    variables: Sequence[str],
    file: Path,
    accounts: Sequence[str],
    say: Callable[[str], object],
    *,
    yes_production: bool,
) -> Found:
    """Ask the server about more keys, and append them to a profile.

    The keys of the profile are asked about, too: so a key of an account that it has gets that account's name.
    """
    from knouds_harness.targets.profile import load_target
    from knouds_harness.targets.profile_writer import added_text, append_tables

    variables = _variables(variables, option="--add")
    _check_accounts(accounts, variables)
    environ = _environ(variables)
    profile = load_target(str(file), environ=environ)
    new = _personas(variables, environ, taken=profile.personas)
    name_by_key = {each.secret.reveal(): each.name for each in profile.personas.values()}
    for each in new.values():
        if name := name_by_key.get(each.secret.reveal()):
            raise UsageError(f"{each.secret.variable} holds the key that {file} has as [keys.{name}]")
    target = replace(profile, personas={**profile.personas, **new})
    found = _found(target, accounts, say, yes_production=yes_production).beside(profile)
    append_tables(file, added_text(found))
    names = ", ".join(f"[keys.{each}]" for each in new)
    for line in (*found.lines(), f"Added to {file}: {names}. Nothing else changed."):
        say(line)
    return found


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
    """Return the hosts that keys may go to; on a terminal, offer to add the server's to the user's file."""
    from knouds_harness.targets.address import (
        HOSTS_VARIABLE,
        allow_host,
        allowed_hosts,
        entry_of,
        host_of,
        hosts_file,
        is_loopback,
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


def _personas(
    variables: Sequence[str], environ: Mapping[str, str], *, taken: Iterable[str] = ()
) -> dict[str, Persona]:
    """Read the keys; a persona of which nothing else is known is named after the variable of its key."""
    from knouds_harness.targets.personas import Persona, SecretSource
    from knouds_harness.targets.secrets import SecretReader

    reader = SecretReader(environ=environ, folder=Path())
    names = list(taken)
    personas: dict[str, Persona] = {}
    for variable in variables:
        whole = re.sub("[^a-z0-9]+", "-", variable.lower()).strip("-") or "key"
        short = whole.partition("-key-")[2] or whole
        if short == "key":  # PENDING_KEY_KEY
            short = whole.removesuffix("-key")
        names.append(name := short if short not in names else whole)
        if secret := reader.read(SecretSource(secret_env=variable), where=variable, label=f"key:{name}"):
            personas[name] = Persona(
                name=name, secret=secret, capabilities=frozenset(), user=name, tier="unknown"
            )
    if reader.problems:
        raise UsageError("\n".join(f"{each.where}: {each.says}\n  {each.remedy}" for each in reader.problems))
    return personas


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
    if not (ignored := Path("reports") / ".gitignore").exists():
        with suppress(OSError):  # a check says if it cannot write there
            ignored.parent.mkdir(exist_ok=True)
            replace_file(ignored.parent, ignored.name, b"runs/\n")


def _next_lines(name: str, unset: Sequence[str], target: Target, *, is_host_listed: bool) -> list[str]:
    """Say what a check can verify with the profile, what would let it verify more, and how to begin."""
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.suite.discovery.advice import advice, advice_lines
    from knouds_harness.suite.discovery.provable_facts import provable_facts
    from knouds_harness.targets.address import HOSTS_VARIABLE, entry_of, host_of, is_loopback

    verified, total = len(provable_facts(target)), len(shipped_document().facts)
    reach = f"A check with it can verify at least {verified} of {total} facts."
    lines = [reach, *advice_lines(advice(target)), "Next:"]
    if not is_host_listed and not is_loopback(host_of(target.base_url)):
        lines.append(f"  export {HOSTS_VARIABLE}={entry_of(target.base_url)}  # keys go to no other host")
    lines += [f"  read -rs {variable} && export {variable}" for variable in unset]
    agreement = " --yes-production" if target.production else ""
    return [*lines, f"  knouds-harness check --target {name}{agreement}"]
