"""What every peer needs: where it is installed, how it is run, how its words become comparable."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "knouds-harness" / "peers"
INSTALL_WITHIN_S = 600
LONGEST_RUN_S = 300

_CHANGING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-fA-F]{12,}\b|\d+\.\d+|\d{4,}")


class PeerFailed(Exception):
    """A peer ended without a report, so that nothing can be said of it."""


def run_peer(
    command: Sequence[str], *, folder: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a peer in a folder of its own; that it finds something is no failure.

    Raises:
        PeerFailed: It took too long.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", **(environ or {})},
            capture_output=True,
            text=True,
            timeout=LONGEST_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"took more than {LONGEST_RUN_S} s") from None


def install_npm(name: str, *packages: str) -> Path:
    """Install npm packages in the cache, once.

    Returns:
        The folder of their programs.
    """
    folder = CACHE / name
    programs = folder / "node_modules" / ".bin"
    if not programs.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages],
            check=True,
            timeout=INSTALL_WITHIN_S,
        )
    return programs


def comparable(words: str) -> str:
    """A reported problem without what differs from run to run: ids, times, generated numbers."""
    return _CHANGING.sub("#", " ".join(words.split()))
