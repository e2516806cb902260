"""Targets without a control plane: sandboxes started by hand, with profiles as users write them."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

from knouds_harness.locations import builtin_targets_path
from knouds_sandbox.serving import RunningSandbox

SECRET_FILE = "webhook-secret"


def free_port() -> int:
    """A port of loopback that nothing listens at, below those that systems give to whoever asks for any."""
    while True:
        port = random.randrange(16_384, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def write_profile(
    folder: Path, sandbox: RunningSandbox, *, base_url: str | None = None, webhook: str = "", limits: str = ""
) -> Path:
    """Write the profile of a sandbox into a folder: the built-in one's keys and resources, no control plane.

    Args:
        folder: Also gets the files that hold the secrets.
        sandbox: Whose keys to use.
        base_url: Where to send, if not to the sandbox itself.
        webhook: Lines of ``[webhook]`` besides its secret; none leaves the table out.
        limits: Lines of ``[limits]`` that replace the built-in ones.
    """
    text = (builtin_targets_path() / "sandbox.toml").read_text(encoding="utf-8")
    begin, end = text.index("[control]"), text.index("# --- Every capability")
    text = text[:begin] + text[end:]
    text = text.replace('base_url_env = "KNOUDS_SANDBOX_URL"', f'base_url = "{base_url or sandbox.base_url}"')
    if limits:
        begin, end = text.index("[limits]"), text.index("# --- Every capability")
        text = f"{text[:begin]}[limits]\n{limits}\n\n{text[end:]}"
    for name, secret in sandbox.keys.items():
        (folder / f"key-{name}").write_text(secret, encoding="utf-8")
        variable = f'secret_env = "KNOUDS_SANDBOX_KEY_{name.upper().replace("-", "_")}"'
        has_webhook = "webhook = true\n" if webhook and name in ("full", "only-model-run") else ""
        text = text.replace(f"{variable}\n", f'secret_file = "key-{name}"\n{has_webhook}')
    if webhook:
        (folder / SECRET_FILE).write_text(
            sandbox.webhook_secret or "whsec_of-no-use-at-all", encoding="utf-8"
        )
        text += f'\n[webhook]\n{webhook}\nsecret_file = "{SECRET_FILE}"\n'
    profile = folder / "by-hand.toml"
    profile.write_text(text, encoding="utf-8")
    return profile
