"""The hosts that keys may go to, listed by the user outside the repository, which others may change."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from knouds_harness.errors import GuardStop, UsageError
from knouds_harness.files import append_to_file, file_text
from knouds_harness.targets.problems import shown

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
    """Add a host to the user's file.

    Raises:
        UsageError: The file cannot be written.
    """
    file = hosts_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        append_to_file(file.parent, file.name, f"{entry}\n".encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None


def entry_of(url: str) -> str:
    """Return the entry that allows a URL: the host for HTTPS on its usual port, else host and port."""
    parts = httpx.URL(url)
    if parts.scheme == "https":
        return _entry_of(parts)
    return f"{_host(parts)}:{parts.port or 80}"


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
    return _entry_of(parts)


def _entry_of(parts: httpx.URL) -> str:
    return _host(parts) if parts.port is None else f"{_host(parts)}:{parts.port}"


def _host(parts: httpx.URL) -> str:
    host = parts.raw_host.decode("ascii").rstrip(".")
    return f"[{host}]" if ":" in host else host
