"""Base URLs: what may stand in one, and which of them are production."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from knouds_harness.target.problems import Problem, shown
from knouds_harness.target.profile_format import ProfileTable

_PRODUCTION_DOMAIN = "knouds.ai"


def host_of(base_url: str) -> str:
    """The host of a URL, lowercase, without the dot that a fully qualified name may end with."""
    return (urlsplit(base_url).hostname or "").rstrip(".")


def is_production_host(host: str) -> bool:
    """Whether this host is the public Knouds service itself (overview: ``https://knouds.ai``)."""
    return host.lower().rstrip(".") in (_PRODUCTION_DOMAIN, f"www.{_PRODUCTION_DOMAIN}")


def is_loopback(host: str) -> bool:
    """Whether this host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def address_problems(table: ProfileTable, environ: Mapping[str, str]) -> tuple[str, list[Problem]]:
    """Find the base URL and what is wrong with it.

    Returns:
        The URL without a slash at the end, and the problems; the URL is usable only if there are none.
    """
    where = "base_url" if table.base_url_env is None else "base_url_env"
    if (table.base_url is None) == (table.base_url_env is None):
        says = "is missing" if table.base_url is None else "stands beside base_url_env"
        remedy = "Write base_url, or base_url_env for a variable that holds it; one of the two."
        return "", [Problem(where="base_url", says=says, remedy=remedy)]
    url = table.base_url if table.base_url is not None else environ.get(table.base_url_env or "", "").strip()
    if not url:
        says = f"environment variable {table.base_url_env} is not set"
        return "", [Problem(where=where, says=says, remedy="Set it to the target's base URL.")]
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        parts, port_is_valid = SplitResult("", "", "", "", ""), False
    if "@" in parts.netloc:
        remedy = "Remove the part before the @, and replace that password if others have seen the file."
        return "", [Problem(where=where, says="holds a user name or a password", remedy=remedy)]
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not port_is_valid
        or parts.query
        or parts.fragment
    ):
        remedy = 'Write scheme, host and perhaps a port: base_url = "https://staging.example.com".'
        return "", [Problem(where=where, says=f"{shown(url)} is no base URL", remedy=remedy)]
    return url.rstrip("/"), _policy_problems(table, parts.scheme, host_of(url), where)


def _policy_problems(table: ProfileTable, scheme: str, host: str, where: str) -> list[Problem]:
    problems = []
    if scheme == "http" and not is_loopback(host) and not table.plain_http:
        problems.append(
            Problem(
                where=where,
                says=f"http:// to {host} would send the keys in the clear",
                remedy="Write https://, or plain_http = true if nobody else is on that network.",
            )
        )
    if table.production is None and host.endswith(f".{_PRODUCTION_DOMAIN}") and not is_production_host(host):
        problems.append(
            Problem(
                where="production",
                says=f"is missing, and {host} may be production",
                remedy="Write production = false if no real user is on it, else production = true.",
            )
        )
    return problems
