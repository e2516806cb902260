"""Validate base URLs, and recognize production and this machine."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.files import append_to_file, file_text
from knouds_harness.targets.profile_format import Problem, holds_secret, shown, without_value

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
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def usable_base_url(
    base_url: str,
    *,
    variable: str | None = None,
    production: bool | None,
    plain_http: bool,
    environ: Mapping[str, str],
) -> tuple[str, Problem | None]:
    """Return the base URL without a trailing slash, or why it cannot be used."""
    where = "base_url" if variable is None else "base_url_env"
    url = base_url if variable is None else environ.get(variable, "").strip()
    what = shown(url) if variable is None else f"what {variable} holds"  # which may be any secret
    host = host_of(url) if _is_base_url(url) else ""
    if bool(base_url) == (variable is not None):
        where, says = "base_url", "is set together with base_url_env" if base_url else "is missing"
        remedy = "Write base_url, or base_url_env for a variable that holds it; one of the two."
    elif not url:
        says, remedy = without_value(variable or "", environ), "Set it to the target's base URL."
    elif "@" in url or holds_secret(url):
        says = "holds a key or a password"
        remedy = "Remove that, and replace the secret if others have seen the file."
    elif not host:
        says = f"{what} is not a base URL"
        remedy = 'Write scheme, host and perhaps a port: base_url = "https://staging.example.com".'
    elif url.rstrip("/").endswith("/api"):
        says = f"{what} ends with /api"
        remedy = f"Write it without: the paths of all operations begin with /api, such as {_HEALTH}."
    elif url.lower().startswith("http:") and not is_loopback(host) and not plain_http:
        says = f"http:// to {host} would send the keys unencrypted"
        remedy = "Write https://, or plain_http = true if you trust that network."
    elif production is None and host.endswith(f".{_PRODUCTION_DOMAIN}") and not is_production_host(host):
        where, says = "production", f"is missing, and {host} may be production"
        remedy = "Write production = false if it has no real users, otherwise production = true."
    else:
        return url.rstrip("/"), None
    return "", Problem(where=where, says=says, remedy=remedy)


def _is_base_url(url: str) -> bool:
    try:
        httpx.URL(url).raw_host.decode("ascii")
        host_of(url).encode("idna")  # each label has 1 to 63 characters
    except (ValueError, httpx.InvalidURL):
        return False
    parts = urlsplit(url)
    is_alone = not (parts.query or parts.fragment or any(map(str.isspace, url)))
    return is_url(url) and is_alone and _PATH.fullmatch(parts.path) is not None


HOSTS_VARIABLE: Final = "KNOUDS_HARNESS_HOSTS"


@dataclass(frozen=True, kw_only=True)
class AllowedHosts:
    """A list of hosts, and where it is; an entry without a port means HTTPS on its usual port."""

    place: str
    entries: frozenset[str]

    def require(self, url: str, *, where: str) -> None:
        """Refuse a URL whose host is not listed.

        Raises:
            GuardStop: It is not, or for another port; ``where`` names the setting that holds the URL.
        """
        entry = entry_of(url)
        if entry not in self.entries:
            raise GuardStop(
                f"{where}: {entry} is not among the hosts that keys may go to ({self.place})\n"
                "  Add it there if you trust that host with your keys."
            )


def allowed_hosts() -> AllowedHosts | None:
    """Return the list of the environment variable, or else of the user's file; None if there is neither.

    Raises:
        UsageError: The list cannot be read, or an entry is not a host.
    """
    text, place = os.environ.get(HOSTS_VARIABLE), HOSTS_VARIABLE
    if text is None:
        place = str(hosts_file())
        try:
            text = "\n".join(line.partition("#")[0] for line in file_text(hosts_file()).splitlines())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{place}: cannot be read: {error}") from None
    words = text.replace(",", " ").split()
    return AllowedHosts(place=place, entries=frozenset(_entry(word, place) for word in words))


def hosts_file() -> Path:
    """Return the file in the user's configuration folder that lists hosts, one a line; it need not exist."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".config") / "knouds-harness" / "hosts"  # noqa: PTH117


def allow_host(entry: str) -> None:
    file = hosts_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        append_to_file(file.parent, file.name, f"{entry}\n".encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def entry_of(url: str) -> str:
    """Return the entry that allows a URL: the host for HTTPS on its usual port, else host and port."""
    parts = httpx.URL(url)
    host = parts.raw_host.decode("ascii").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (None if parts.scheme == "https" else 80)
    return f"{host}:{port}" if port else host


def _entry(word: str, place: str) -> str:
    try:
        parts = httpx.URL(f"https://{word}/")
    except (httpx.InvalidURL, ValueError):
        parts = httpx.URL()
    if not parts.host or "*" in word or parts.userinfo or parts.raw_path != b"/":
        raise UsageError(
            f"{place}: {shown(word)} is not a host\n"
            "  Write staging.example.com, or staging.example.com:8443 for a port other than that of HTTPS."
        )
    return entry_of(str(parts))
