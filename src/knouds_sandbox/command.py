"""``knouds-harness sandbox``: options, banner, and the server in the foreground."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from knouds_sandbox.errors import SandboxError
from knouds_sandbox.providers import Latency

if TYPE_CHECKING:
    import uvicorn

    from knouds_sandbox.answers import Observer
    from knouds_sandbox.serving import RunningSandbox

_Command = TypeVar("_Command", bound="Callable[..., Any]")
HarOpener: TypeAlias = "Callable[[Path, str, Mapping[str, str]], AbstractContextManager[Observer]]"
"""Opens a HAR file, for a base URL and keys by persona. Who runs the command passes one as click's object."""


_FILE = click.Path(dir_okay=False, path_type=Path)


def _option(name: str, metavar: str, meaning: str, **more: Any) -> Callable[[_Command], _Command]:
    return click.option(name, metavar=metavar, help=meaning, **more)


@click.command(context_settings={"show_default": True})
@_option("--host", "TEXT", "Address to listen on", default="127.0.0.1")
@_option("--port", "N", "Port to listen on; 0 takes a free one", type=click.IntRange(0, 65535), default=8080)
@_option("--db", "FILE", "Keep the state in this file", type=_FILE)
@_option("--seed", "N", "Seed of keys, ids and the providers' behaviour", default=0)
@_option("--fault", "ID", "Break this promise, one of --list-faults (repeatable)", multiple=True)
@click.option("--list-faults", is_flag=True, help="List every fault with the fact it breaks, and exit")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output format")
@_option("--legal", "SEED", "Decide by this seed what no documentation says; 17,trim=yes fixes one choice")
@_option("--between", "SEED", "Put an intermediary in front, drawn from this seed: balancer, firewall, proxy")
@_option("--latency", "TIME", "Latency of providers: none, realistic, or milliseconds", default="none")
@_option("--time-scale", "N", "Factor on every latency and retry pause", default=1.0)
@_option(
    "--control-token",
    "TEXT",
    "Open the control plane under /__sandbox__/ with this token",
    envvar="KNOUDS_SANDBOX_SERVED_TOKEN",
)
@_option("--webhook-url", "URL", "Deliver webhooks for executions of keys of ada and ines to this address")
@_option(
    "--allow-host",
    "NAME",
    "Also answer requests to this host (repeatable); on loopback, others are refused",
    multiple=True,
)
@_option(
    "--allow-origin",
    "URL",
    "Let pages of this origin send requests from a browser (CORS); * for any (repeatable)",
    multiple=True,
)
@_option(
    "--webhook-network",
    "CIDR",
    "Also deliver webhooks to addresses of this network (repeatable)",
    multiple=True,
)
@_option("--har", "FILE", "Write requests and answers to this HAR file, without secrets", type=_FILE)
@click.option("--prefer", is_flag=True, help="Let requests choose their outcome with the header Prefer")
@click.option(
    "--announce", is_flag=True, help="Print one JSON line when ready; exit when standard input closes"
)
@click.pass_obj
def sandbox(
    open_har: HarOpener | None,
    *,
    host: str,
    port: int,
    db: Path | None,
    seed: int,
    fault: tuple[str, ...],
    list_faults: bool,
    form: str,
    legal: str | None,
    between: str | None,
    latency: str,
    time_scale: float,
    control_token: str | None,
    webhook_url: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    webhook_network: tuple[str, ...],
    har: Path | None,
    prefer: bool,
    announce: bool,
) -> None:
    """Run a complete server of the Knouds API on this machine."""
    from knouds_sandbox.access.network import ReceiverRules, is_loopback, is_receivable
    from knouds_sandbox.answers import with_observer
    from knouds_sandbox.app import build_app
    from knouds_sandbox.legal.points import chosen
    from knouds_sandbox.seeding import uses_of_keys
    from knouds_sandbox.serving import RunningSandbox, bound_socket, make_server

    if list_faults:
        _print_faults(form)
        return
    if form != "table":
        raise SandboxError("--format needs --list-faults")
    if not 0 < time_scale < 1e6:
        raise SandboxError(f"--time-scale {time_scale}: expected a number above 0, such as 0.1.")
    if control_token is not None and not (
        control_token.strip() and control_token.isascii() and control_token.isprintable()
    ):
        raise SandboxError(
            "--control-token is empty, or has characters that no header can have\n"
            "  Give letters and digits that are hard to guess, or leave it out."
        )
    if har and not open_har:
        raise SandboxError("--har needs `knouds-harness sandbox`, which writes HAR files.")
    if webhook_url is not None and not is_receivable(webhook_url):
        raise SandboxError(f'--webhook-url "{webhook_url}" is not an http or https URL.')
    is_local = is_loopback(host)
    receivers = ReceiverRules(allows_loopback=is_local, networks=tuple(map(_network, webhook_network)))
    with contextlib.ExitStack() as open_files, bound_socket(host, port) as listener:
        app, services = build_app(
            database=db,
            seed=seed,
            faults=fault,
            latency=Latency(fixed_s=_fixed_s(latency), time_scale=time_scale),
            control_token=control_token,
            legal=legal,
            between=between,
            webhook_url=webhook_url,
            prefer=prefer,
            allowed_hosts=allow_host if is_local or allow_host else None,
            allowed_origins=allow_origin,
            receivers=receivers,
            now_unix_s=time.time,
        )
        ready = RunningSandbox.of(services, listener)
        if har and open_har:
            app = with_observer(app, open_files.enter_context(open_har(har, ready.base_url, ready.keys)))
        server = make_server(app, services.choices)
        if announce:
            threading.Thread(target=_exit_with_parent, args=(server,), daemon=True).start()
            threading.Thread(target=_announce, args=(server, ready), daemon=True).start()
        else:
            notes = [f"Broken on purpose: {', '.join(fault)}"] if fault else []
            notes += [f"Decided where no documentation says it: {each}" for each in chosen(legal, between)]
            notes += ["Requests choose their outcome with the header Prefer"] if prefer else []
            notes += [f"Requests and answers go to {har}"] if har else []
            _print_banner(ready, uses=uses_of_keys(services.store), notes=notes)
            open_files.callback(_print_met, services.edits.is_met_by_fault)
            logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
            logging.getLogger("knouds_sandbox").setLevel(logging.INFO)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def main() -> None:
    sandbox(prog_name="python -m knouds_sandbox")


def _fixed_s(latency: str) -> float | None:
    """Return the seconds of ``--latency``; None for the models' own latencies."""
    fixed_s = {"realistic": None, "none": 0.0}
    if latency in fixed_s:
        return fixed_s[latency]
    with contextlib.suppress(ValueError):
        if 0 <= (milliseconds := float(latency)) <= 3_600_000:
            return milliseconds / 1000
    raise SandboxError(f'--latency "{latency}": expected none, realistic, or milliseconds up to 3600000.')


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as problem:
        raise SandboxError(f'--webhook-network "{text}": {problem}.') from None


def _announce(server: uvicorn.Server, ready: RunningSandbox) -> None:
    while not server.started:
        time.sleep(0.002)
    click.echo(json.dumps(asdict(ready)))
    sys.stdout.flush()


def _exit_with_parent(server: uvicorn.Server) -> None:
    """Stop when the parent process closes its end of standard input, or dies."""
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 4096):  # sys.stdin would be locked as this process ends, and abort it
        pass
    server.should_exit = True


def _print_banner(
    ready: RunningSandbox, *, uses: Mapping[str, tuple[str, str, str]], notes: Sequence[str]
) -> None:
    click.echo(f"Knouds sandbox on {ready.base_url} (Ctrl-C stops it)\n")
    click.echo(f"export KNOUDS_SANDBOX_URL={ready.base_url}")
    if ready.control_token:
        click.echo(f"export KNOUDS_SANDBOX_CONTROL_TOKEN={ready.control_token}")
    click.echo()
    for persona, secret in ready.keys.items():
        account, tier, use = uses[persona]
        click.echo(fill(f"{account}, {tier}: {use}", 79, initial_indent="# ", subsequent_indent="#   "))
        click.echo(f"export KNOUDS_SANDBOX_KEY_{persona.upper().replace('-', '_')}={secret}")
    if ready.webhook_secret:
        click.echo(f"\nexport KNOUDS_SANDBOX_WEBHOOK_SECRET={ready.webhook_secret}")
    for each in notes:
        click.echo(f"\n{each}")
    click.echo(f'\ncurl -H "x-api-key: $KNOUDS_SANDBOX_KEY_FULL" {ready.base_url}/api/whoami')


def _print_met(is_met_by_fault: Mapping[str, bool]) -> None:
    for fault, is_met in is_met_by_fault.items():
        click.echo(f"fault {fault}: {'met' if is_met else 'never met'}")


def _print_faults(form: str) -> None:
    from knouds_sandbox.faults import FAULTS

    if form == "json":
        members = ("id", "fact", "says", "is_subtle")
        listed = [{name: getattr(fault, name) for name in members} for fault in FAULTS]
        click.echo(json.dumps({"format": "knouds-harness faults", "format_version": 1, "faults": listed}))
        return
    id_width, fact_width = (max(len(getattr(fault, name)) for fault in FAULTS) for name in ("id", "fact"))
    for fault in FAULTS:
        says = f"{fault.says} [subtle]" if fault.is_subtle else fault.says
        if sys.stdout.isatty():
            click.echo(fault.id)
            about = f"{fault.fact}: {says}"
            click.echo(fill(about, 79, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
        else:
            click.echo(f"{fault.id:{id_width}}  {fault.fact:{fact_width}}  {says}")
