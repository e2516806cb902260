"""Dredd: sends each documented transaction once and compares status, headers and shape."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from counted import Counted
from peers import PeerFailed, comparable, install_npm, run_peer
from prepared import write_openapi_30

VERSION = "14.1.0"
_HOOKS = Path(__file__).with_name("dredd_hooks.js")


def install() -> str:
    """Put it in the cache; returns its version."""
    install_npm("dredd", f"dredd@{VERSION}")
    return VERSION


def run(sandbox: Counted, folder: Path) -> set[str]:
    """Every line of every failed transaction."""
    program = install_npm("dredd", f"dredd@{VERSION}") / "dredd"
    ended = run_peer(
        [
            *(str(program), write_openapi_30(sandbox, folder), sandbox.base_url, "--language", "nodejs"),
            *("--header", f"x-api-key: {sandbox.keys['business']}", "--hookfiles", str(_HOOKS)),
            *("--loglevel", "warning", "--reporter", "xunit", "--output", "dredd.xml"),
        ],
        folder=folder,
        environ={"LOW_KEY": sandbox.keys["none"]},
    )
    try:
        cases = ET.parse(folder / "dredd.xml").getroot()  # noqa: S314 - written by the peer just now
    except (OSError, ET.ParseError) as problem:
        raise PeerFailed(f"no report: {problem}; {ended.stderr[-200:]}") from None
    return {
        comparable(f"{case.get('name')}: {line}")
        for case in cases.iter("testcase")
        for failure in (*case.iter("failure"), *case.iter("error"))
        for line in (failure.text or "").partition("\nRequest:")[0].splitlines()[1:]
        if line.strip()
    }
