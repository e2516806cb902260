"""The network around a sandbox: which hosts requests may name, and where webhooks may go.

A web page that attacks by DNS rebinding sends another ``Host``. Webhooks go to public addresses, allowed
networks, and loopback if the sandbox listens on it. A name is resolved for each attempt, and the connection
goes to the address that was checked. Redirects are not followed.
Source: docs, webhooks (private addresses are refused); docs/decisions/sandbox-on-a-network.md.
"""

import asyncio
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from knouds_sandbox.bodies import Refusal, refuse

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]*)?")
_NAT64 = 0x64FF9B << 64
_RESOLVE_WITHIN_S = 5


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


class ReceiverRefused(Exception):
    """The URL resolves to an address that may not receive deliveries."""


def is_receivable(url: object) -> bool:
    try:
        parsed = httpx.URL(url if isinstance(url, str) else "")
    except httpx.InvalidURL:
        return False
    return parsed.scheme in {"http", "https"} and bool(parsed.host)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverRules:
    allows_loopback: bool = True
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    given_url: str | None = None

    def allows(self, address: str) -> bool:
        ip = _innermost(ip_address(address.partition("%")[0]))
        if any(ip in network for network in self.networks):
            return True
        return self.allows_loopback if ip.is_loopback else ip.is_global and not ip.is_multicast

    async def addresses(self, url: str) -> list[str]:
        """Return the addresses of a URL's host, all of which are allowed.

        Raises:
            OSError: The name is unknown, or its lookup took over 5 s.
            ReceiverRefused: An address is not allowed.
        """
        host = httpx.URL(url).raw_host.decode("ascii")
        async with asyncio.timeout(_RESOLVE_WITHIN_S):
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except UnicodeError as problem:  # a label over 63 characters
                raise OSError(str(problem)) from None
        addresses = [str(each[4][0]) for each in found]
        if url != self.given_url and not all(map(self.allows, addresses)):
            raise ReceiverRefused(f"{host} is at a private address")
        return addresses


def _innermost(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address embedded in an IPv6 address, or the address itself."""
    if isinstance(ip, IPv4Address) or ip.is_loopback:
        return ip
    if int(ip) >> 32 in {0, _NAT64}:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)
