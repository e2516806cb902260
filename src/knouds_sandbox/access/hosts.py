"""Check the ``Host`` header: a web page that attacks by DNS rebinding sends another host.

Source: docs/decisions/sandbox-on-a-network.md.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from knouds_sandbox.envelopes import Refusal, refuse

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]*)?")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def with_checked_hosts(app: ASGIApp, allowed: Collection[str]) -> ASGIApp:
    """Wrap an app: refuse requests whose ``Host`` is neither loopback nor one of these names."""
    names = {name.lower() for name in allowed}

    @lru_cache(maxsize=128)
    def is_allowed(header: bytes) -> bool:
        parts = _HOST.fullmatch(header.decode("latin-1").strip().lower())
        host = parts[1].strip("[]").removesuffix(".") if parts else ""
        return is_loopback(host) or host in names

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not all(
            is_allowed(value) for name, value in scope["headers"] if name == b"host"
        ):
            error = "This sandbox is asked by localhost or a loopback address; --allow-host NAME adds a name."
            await refuse(Refusal(421, "HOST_NOT_ALLOWED", error))(scope, receive, send)
            return
        await app(scope, receive, send)

    return checked
