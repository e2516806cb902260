"""Schemathesis without our checks: all phases, a full key, and with more keys what it makes of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from counted import Counted
from peers import PeerFailed, comparable, run_peer
from prepared import write_openapi_31

SEED = "1"
_EVERYTHING = ("--max-examples", "30")
_WITH_ANOTHER_KEY = ("--phases", "examples,stateful", "--max-examples", "10")
_ST = str(Path(sys.executable).with_name("st"))
_CONFIG = Path(__file__).with_name("schemathesis.toml")


def install() -> str:
    """It is there; returns its version."""
    return version("schemathesis")


def run(sandbox: Counted, folder: Path) -> set[str]:
    """What it reports with a key that holds every capability."""
    return _reported(sandbox, folder, write_openapi_31(sandbox, folder), key="business")


def run_with_identities(sandbox: Counted, folder: Path) -> set[str]:
    """The same, and with a key that may only read, and as two users that must not see each other's things."""
    document = write_openapi_31(sandbox, folder)
    problems = _reported(sandbox, folder, document, key="business")
    problems |= {
        f"low: {each}"
        for each in _reported(sandbox, folder, document, key="read-only", options=_WITH_ANOTHER_KEY)
    }
    users = {
        "auth": [
            {"name": name, "fixedHeaders": [{"name": "x-api-key", "value": sandbox.keys[name]}]}
            for name in ("business", "stranger")
        ]
    }
    (folder / "users.json").write_text(json.dumps(users), encoding="utf-8")
    (folder / "peers.toml").write_text(
        _CONFIG.read_text(encoding="utf-8").replace(
            '[auth.openapi.apiKey]\napi_key = "${PEER_KEY}"',
            '[auth.wfc]\npath = "users.json"\npeers = ["business", "stranger"]',
        ),
        encoding="utf-8",
    )
    config = folder / "peers.toml"
    return problems | {
        f"users: {each}"
        for each in _reported(
            sandbox, folder, document, key="business", config=config, options=_WITH_ANOTHER_KEY
        )
    }


def _reported(
    sandbox: Counted,
    folder: Path,
    document: str,
    *,
    key: str,
    config: Path = _CONFIG,
    options: Sequence[str] = _EVERYTHING,
) -> set[str]:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    ended = run_peer(
        [
            *(_ST, "--config-file", str(config), "run", document, "--url", sandbox.base_url),
            *("--seed", SEED, *options, "--no-shrink", "--generation-database", "none"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        folder=folder,
        environ={"PEER_KEY": sandbox.keys[key]},
    )
    if not report.exists():
        raise PeerFailed(f"no report: {(ended.stdout + ended.stderr)[-300:]}")
    return _problems(json.loads(report.read_text(encoding="utf-8")))


def _problems(report: dict[str, Any]) -> set[str]:
    failures = {
        f"{failure['type']} {failure['title']}: {operation}"
        for failure in report["failures"]
        for operation in failure["operations"]
    }
    return {comparable(each) for each in failures | {f"error {error}" for error in report["errors"]}}
