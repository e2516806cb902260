"""``knouds-harness init``: write the profile of a server from what it tells about a few keys."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knouds_harness.errors import ExitCode, GuardStop, UsageError
from knouds_harness.files import replace_file
from knouds_harness.printable import counted

if TYPE_CHECKING:
    from knouds_harness.targets.address import AllowedHosts
    from knouds_harness.targets.profile import Target
    from knouds_harness.targets.profile_writer import Found
    from knouds_harness.targets.resources import Persona

_FOLDER = Path("targets")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_MOST_NEEDS = 5


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
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Profile to write [default: targets/NAME.toml; NAME is that of the host, or key]",
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
      knouds-harness init --url URL --key STAGING_KEY --key OTHER_KEY --force
    """
    from knouds_harness.command_output import CommandConsole, print_line
    from knouds_harness.targets.http_settings import HttpSettings
    from knouds_harness.targets.profile import Target, load_http, load_target
    from knouds_harness.targets.profile_writer import WHY_REFUSED, http_text, profile_name, profile_text

    say = partial(print_line, console=CommandConsole())
    if not (url and variables):
        raise UsageError(
            "init needs --url and --key: the address of a server, and the name of an environment variable "
            "that holds a key"
        )
    personas = _personas(variables)
    base_url = _base_url(url, production=yes_production, plain_http=plain_http)
    file = output or _FOLDER / f"{profile_name(base_url, variables)}.toml"
    _check_file(file, force=force)
    hosts = _hosts_with(base_url)
    http = load_http(http_file, environ=os.environ) if http_file else HttpSettings()
    if hosts and http.via:
        hosts.require(http.via.url, where=f"{http_file}: http.proxy")
    target = Target(
        name=file.stem, base_url=base_url, production=bool(yes_production), http=http, personas=personas
    )
    found = _found(target, say)
    if len(found.refused) == len(found.keys):
        refusals = ", ".join(f"{key.variable}: {key.refusal}" for key in found.refused)
        raise UsageError(
            f"{base_url} refuses every key ({refusals}), and nothing was written\n  {WHY_REFUSED}."
        )
    found = replace(found, production=yes_production, plain_http=plain_http)
    name = file.stem if file.parent == _FOLDER else str(file)
    text = profile_text(found, target=name) + (http_text(http) if http_file else "")
    try:
        if file.parent == _FOLDER:
            file.parent.mkdir(exist_ok=True)
        replace_file(file.parent, file.name, text.encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    _ignore_runs()
    for line in (
        *found.lines(),
        f"Wrote {file}: it allows only reads, and no credits.",
        *_next_lines(name, load_target(str(file)), is_host_listed=hosts is not None),
    ):
        say(line)
    sys.exit(ExitCode.BREACH if found.refused else ExitCode.KEPT)


def _found(target: Target, say: Callable[[str], object]) -> Found:
    from knouds_harness.exchange.client import Client
    from knouds_harness.exchange.profile_check import first_contact
    from knouds_harness.suite.discovery.discovery import Discovery
    from knouds_harness.targets.guards import Guard

    variables = {key.name: key.secret.variable for key in target.personas.values()}
    with Client(target=target, guard=Guard(target, yes_production=bool(target.production))) as client:
        first_contact(client, address="--url")
        say(f"{target.base_url} answers. Sending reads, and requests that can have no effect.")
        return Discovery(client, variables=variables).find_all()


def _base_url(url: str, *, production: bool | None, plain_http: bool) -> str:
    from knouds_harness.targets.address import host_of, is_production_host, usable_base_url

    base_url, problem = usable_base_url(url, production=production, plain_http=plain_http, environ={})
    if is_production_host(host_of(base_url)) and not production:
        raise GuardStop(
            f"{base_url} is the production service: its keys, workflows and credits are real\n"
            "  Give the address of a staging server instead, or pass --yes-production."
        )
    if problem and problem.where == "production":
        raise GuardStop(
            f"{host_of(url)} may be production\n"
            "  Pass --no-production if no real people use it, else --yes-production."
        )
    if problem:
        remedy = "Give scheme, host and perhaps a port, without /api: --url https://staging.example.com"
        if problem.says.startswith("http://"):
            remedy = "Write https://, or pass --plain-http if you trust that network."
        raise UsageError(f"--url: {problem.says}\n  {remedy}")
    return base_url


def _hosts_with(base_url: str) -> AllowedHosts | None:
    """Return the hosts that keys may go to; on a terminal, offer to add the server's to the user's file."""
    from knouds_harness.targets import address

    hosts, entry = address.allowed_hosts(), address.entry_of(base_url)
    is_offered = hosts is None and not address.is_loopback(address.host_of(base_url))
    is_offered |= (
        hosts is not None and entry not in hosts.entries and address.HOSTS_VARIABLE not in os.environ
    )
    if is_offered and sys.stdin.isatty():
        question = f"Allow keys to be sent to {entry}, and only to hosts in {address.hosts_file()}?"
        if click.confirm(question, err=True):
            address.allow_host(entry)
            hosts = address.allowed_hosts()
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


def _personas(variables: Sequence[str]) -> dict[str, Persona]:
    """Read the keys; a persona of which nothing else is known is named after the variable of its key."""
    from knouds_harness.targets.resources import Persona
    from knouds_harness.targets.secrets import KEY, SecretReader, SecretSource

    if any(not _VARIABLE.fullmatch(each) for each in variables):
        raise UsageError(
            "--key takes the name of an environment variable, such as STAGING_KEY, never the key itself\n"
            "  Replace a key that others may have seen: command lines are kept by shells and shown to others."
        )
    form = replace(KEY, if_absent="Set it without showing the key: read -rs {where} && export {where}")
    reader = SecretReader(environ=os.environ, folder=Path())
    personas: dict[str, Persona] = {}
    for variable in dict.fromkeys(variables):
        name = _name_of(variable, taken=personas)
        source, label = SecretSource(secret_env=variable), f"key:{name}"
        if secret := reader.read(source, where=variable, label=label, form=form):
            personas[name] = Persona(
                name=name, secret=secret, capabilities=frozenset(), user=name, tier="unknown"
            )
    if reader.problems:
        raise UsageError("\n".join(f"{each.where}: {each.says}\n  {each.remedy}" for each in reader.problems))
    return personas


def _name_of(variable: str, *, taken: Collection[str]) -> str:
    whole = re.sub("[^a-z0-9]+", "-", variable.lower()).strip("-") or "key"
    short = whole.partition("-key-")[2] or whole
    if short == "key":  # PENDING_KEY_KEY
        short = whole.removesuffix("-key")
    return whole if short in taken else short


def _ignore_runs() -> None:
    """Have git ignore the folder of runs, as their records are large and of servers."""
    if not (ignored := Path("reports") / ".gitignore").exists():
        with suppress(OSError):  # a check says if it cannot write there
            ignored.parent.mkdir(exist_ok=True)
            replace_file(ignored.parent, ignored.name, b"runs/\n")


def _next_lines(name: str, target: Target, *, is_host_listed: bool) -> list[str]:
    """Say what a check can verify with the profile, what would let it verify more, and how to begin."""
    from knouds_harness.contract.document import shipped_document
    from knouds_harness.suite.discovery.run_plan import missing_by_need, provable_facts
    from knouds_harness.targets.address import HOSTS_VARIABLE, entry_of, host_of, is_loopback

    verified, total = len(provable_facts(target)), len(shipped_document().facts)
    needed = list(missing_by_need(target).items())[:_MOST_NEEDS]
    lines = [
        f"A check with it can verify at least {verified} of {total} facts. What others need first:",
        *(f"  {need}: {counted(len(facts), 'fact')}" for need, facts in needed),
        "Next:",
    ]
    if not is_host_listed and not is_loopback(host_of(target.base_url)):
        lines.append(f"  export {HOSTS_VARIABLE}={entry_of(target.base_url)}  # keys go to no other host")
    agreement = " --yes-production" if target.production else ""
    return [*lines, f"  knouds-harness check --target {name}{agreement}"]
