"""Targets for tests: hand-made ones, and profiles of sandboxes as users write them."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ExitCode, TargetUnreachable
from knouds_harness.exchange.client import Client
from knouds_harness.exchange.profile_check import first_contact
from knouds_harness.locations import builtin_targets_path
from knouds_harness.targets.profile import Target, load_target
from knouds_harness.targets.resources import Limits, Persona, Workflow
from knouds_harness.targets.secrets import Secret
from knouds_sandbox.serving import RunningSandbox

SECRETS = {
    "full": "knouds_live_Full-0123456789_abcdefghijklmnop",
    "read-only": "knouds_live_Read-0123456789_abcdefghijklmnop",
    "legacy": "legacy!key/without=the%20prefix",
}
ALL = frozenset(Action)
PRO = (
    *("workflow:run", "workflow:read", "workflow:write"),
    *("execution:read", "execution:cancel", "webhook:receive"),
)
"""All capabilities that a pro account may grant."""
PORTRAIT = '[workflows.pia-portrait]\nowner = "pia"\ncost_credits = 8\ninputs = { prompt = "x" }\n'
CLIP = """[workflows.sunset-clip]
owner = "ada"
polled = true
deadline_s = 30
cost_credits = 80
inputs = { prompt = "x" }
"""
IMAGE = '[models.gpt-image-2]\npolled = true\ncost_credits = 20\ninputs = { prompt = "x" }\n'


def make_key(name: str, user: str = "ada", secret: str = "", **more: Any) -> Persona:
    """Make a key of a pro account that holds nothing; ``more`` says otherwise."""
    whole = {"capabilities": frozenset(), "tier": "pro", **more}
    return Persona(
        name=name, secret=Secret(secret or f"knouds_live_{name}", f"key:{name}"), user=user, **whole
    )


def offering(*keys: Persona, workflows: Iterable[Workflow] = (), **more: Any) -> Target:
    """Make a target on this machine with these keys and workflows."""
    return Target(
        name="staging",
        base_url="http://127.0.0.1",
        personas={each.name: each for each in keys},
        workflows={each.slug: each for each in workflows},
        **more,
    )


def make_target(base_url: str = "https://staging.example.com", **limits: Any) -> Target:
    limits = {"credits": 100.0, "allow": ALL, "timeout_s": 30.0, **limits}
    personas = {
        name: make_key(name, secret=value, capabilities=frozenset({"workflow:read"}))
        for name, value in SECRETS.items()
    }
    return Target(name="staging", base_url=base_url, limits=Limits(**limits), personas=personas)


def why_unreachable(target: Target) -> str:
    """Return what is said about a target that first contact does not reach."""
    with Client(target=target) as client, pytest.raises(TargetUnreachable) as caught:
        first_contact(client)
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    return str(caught.value)


def sandbox_target() -> Target:
    """Return the built-in target with made-up secrets, at an address where nothing listens."""
    profile = builtin_targets_path() / "sandbox.toml"
    variables = re.findall(r"KNOUDS_SANDBOX_\w+", profile.read_text(encoding="utf-8"))
    environ = {name: f"secret-of-{name}".ljust(43, "x") for name in variables}
    return load_target(str(profile), environ=environ | {"KNOUDS_SANDBOX_URL": "http://127.0.0.1:1"})


def free_port() -> int:
    """Return a free port of loopback, below the range that the system hands out."""
    while True:
        port = random.randrange(16_384, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def write_profile(
    folder: Path, sandbox: RunningSandbox, *, base_url: str | None = None, webhook: str = "", limits: str = ""
) -> Path:
    """Write the profile of a sandbox: keys and resources of the built-in one, and no control plane.

    ``webhook`` and ``limits`` are lines of these tables; without the first, there is no such table.
    """
    text = (builtin_targets_path() / "sandbox.toml").read_text(encoding="utf-8")
    begin, end = text.index("[control]"), text.index("# --- Every capability")
    text = text[:begin] + text[end:]
    text = text.replace('base_url_env = "KNOUDS_SANDBOX_URL"', f'base_url = "{base_url or sandbox.base_url}"')
    if limits:
        begin, end = text.index("[limits]"), text.index("# --- Every capability")
        text = f"{text[:begin]}[limits]\n{limits}\n\n{text[end:]}"
    text = _settling_at_once(text)
    for name, secret in sandbox.keys.items():
        (folder / f"key-{name}").write_text(secret, encoding="utf-8")
        variable = f'secret_env = "KNOUDS_SANDBOX_KEY_{name.upper().replace("-", "_")}"'
        has_webhook = "webhook = true\n" if webhook and name in ("full", "only-model-run") else ""
        text = text.replace(f"{variable}\n", f'secret_file = "key-{name}"\n{has_webhook}')
    if webhook:
        secret = sandbox.webhook_secret or "whsec_of-no-use-at-all"
        (folder / "webhook-secret").write_text(secret, encoding="utf-8")
        text += f'\n[webhook]\n{webhook}\nsecret_file = "webhook-secret"\n'
    profile = folder / "by-hand.toml"
    profile.write_text(text, encoding="utf-8")
    return profile


def _settling_at_once(profile: str) -> str:
    """The sandbox shows charges at once, so that no test has to wait for them."""
    return profile if "settle_s" in profile else profile.replace("[limits]\n", "[limits]\nsettle_s = 0\n", 1)


@dataclass(kw_only=True)
class SmallProfile:
    """A profile put together key by key; ``limits`` are the lines of its ``[limits]``."""

    folder: Path
    sandbox: RunningSandbox
    limits: str = 'credits = 10_000\nallow = ["read", "write", "run", "cancel"]'
    tables: list[str] = field(default_factory=list)

    def key(
        self,
        name: str,
        capabilities: Collection[str],
        *,
        user: str,
        tier: str,
        secret: str | None = None,
        more: str = "",
    ) -> SmallProfile:
        """Add a key of the sandbox, or one with another secret; ``more`` are further lines of its table."""
        (self.folder / f"key-{name}").write_text(secret or self.sandbox.keys[name], encoding="utf-8")
        held = ", ".join(f'"{each}"' for each in capabilities)
        self.tables.append(
            f'[keys.{name}]\nsecret_file = "key-{name}"\ncapabilities = [{held}]\n'
            f'user = "{user}"\ntier = "{tier}"\n{more}'
        )
        return self

    def resource(self, table: str) -> SmallProfile:
        self.tables.append(table)
        return self

    def written(self, *, base_url: str | None = None) -> str:
        """Write the profile, for the sandbox or a server in front of it; return its path."""
        path = self.folder / "small.toml"
        text = [f'base_url = "{base_url or self.sandbox.base_url}"\n[limits]\n{self.limits}\n', *self.tables]
        path.write_text(_settling_at_once("\n".join(text)), encoding="utf-8")
        return str(path)
