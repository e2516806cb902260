"""Validate base URLs, and recognize production and this machine."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httpx

from knouds_harness.targets.problems import Problem, holds_secret, shown

_PRODUCTION_DOMAIN = "knouds.ai"
_HEALTH = "/api/health"
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)*/*", re.ASCII)
"""What a server reads in one way alone, so that what follows it stays the path of an operation."""


def host_of(base_url: str) -> str:
    """Return the host of a URL, lowercase, without the trailing dot of a fully qualified name."""
    return (urlsplit(base_url).hostname or "").rstrip(".")


def is_production_host(host: str) -> bool:
    """Return whether the host is the public Knouds service (overview: ``https://knouds.ai``)."""
    return host.lower().rstrip(".") in (_PRODUCTION_DOMAIN, f"www.{_PRODUCTION_DOMAIN}")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def own_address(url: str) -> tuple[str, int] | None:
    """Return host and port of an ``http`` URL on this machine; None for any other URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        return None
    return (host, port) if parts.scheme == "http" and is_loopback(host) else None


def host_and_port(text: str) -> tuple[str, int] | None:
    """Parse ``127.0.0.1:9000`` or ``[::1]:9000``; return None for other text."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    return (host, int(port)) if host and is_port else None


def is_url(text: str) -> bool:
    """Return whether a text is an ``http`` or ``https`` URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def address_problems(
    base_url: str,
    *,
    variable: str | None = None,
    production: bool | None,
    plain_http: bool,
    environ: Mapping[str, str],
) -> tuple[str, list[Problem]]:
    """Return the base URL without a trailing slash, and its problems; it is usable if there are none."""
    where = "base_url" if variable is None else "base_url_env"
    if bool(base_url) == (variable is not None):
        says = "is set together with base_url_env" if base_url else "is missing"
        remedy = "Write base_url, or base_url_env for a variable that holds it; one of the two."
        return "", [Problem(where="base_url", says=says, remedy=remedy)]
    url = base_url if variable is None else environ.get(variable, "").strip()
    if not url:
        says = f"environment variable {variable} is not set"
        return "", [Problem(where=where, says=says, remedy="Set it to the target's base URL.")]
    what = shown(url) if variable is None else f"what {variable} holds"  # which may be any secret
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
        httpx.URL(url).raw_host.decode("ascii")
        (parts.hostname or "").encode("idna")  # each label has 1 to 63 characters
    except (ValueError, httpx.InvalidURL):
        parts, port_is_valid = SplitResult("", "", "", "", ""), False
    if "@" in parts.netloc or holds_secret(url):
        says = "holds a user name or a password" if "@" in parts.netloc else "holds a key"
        remedy = "Remove that, and replace the secret if others have seen the file."
        return "", [Problem(where=where, says=says, remedy=remedy)]
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or any(map(str.isspace, url))
        or not port_is_valid
        or not _PATH.fullmatch(parts.path)
        or parts.query
        or parts.fragment
    ):
        remedy = 'Write scheme, host and perhaps a port: base_url = "https://staging.example.com".'
        return "", [Problem(where=where, says=f"{what} is not a base URL", remedy=remedy)]
    if parts.path.rstrip("/").endswith("/api"):
        remedy = f"Write it without: the paths of all operations begin with /api, such as {_HEALTH}."
        return "", [Problem(where=where, says=f"{what} ends with /api", remedy=remedy)]
    host, problems = host_of(url), []
    if parts.scheme == "http" and not is_loopback(host) and not plain_http:
        problems.append(
            Problem(
                where=where,
                says=f"http:// to {host} would send the keys unencrypted",
                remedy="Write https://, or plain_http = true if you trust that network.",
            )
        )
    if production is None and host.endswith(f".{_PRODUCTION_DOMAIN}") and not is_production_host(host):
        problems.append(
            Problem(
                where="production",
                says=f"is missing, and {host} may be production",
                remedy="Write production = false if it has no real users, otherwise production = true.",
            )
        )
    return url.rstrip("/"), problems
