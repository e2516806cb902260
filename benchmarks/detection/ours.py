"""`knouds-harness check --quick` as a user runs it; it starts its own sandbox."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from peers import PeerFailed, run_peer

from knouds_harness.errors import HarnessError
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run


def install() -> str:
    """It is there; returns its version."""
    return version("knouds-harness")


def run(fault: str | None, seed: int, folder: Path) -> tuple[set[str], int, int]:
    """The breaches and conflicts that it finds, its requests, and its accepted runs."""
    ended = run_peer(
        [
            *(sys.executable, "-m", "knouds_harness", "check", "--quick", "--seed", str(seed)),
            *("--runs-folder", "runs", *(("--fault", fault) if fault else ())),
        ],
        folder=folder,
    )
    try:
        (record_folder,) = (folder / "runs").iterdir()
        record = read_run(record_folder)
    except (HarnessError, OSError, ValueError) as problem:
        raise PeerFailed(f"no record: {problem}; {ended.stderr[-200:]}") from None
    entries = json.loads((record_folder / "exchanges.har").read_text(encoding="utf-8"))["log"]["entries"]
    runs = sum(
        entry["request"]["method"] == "POST"
        and entry["request"]["url"].partition("?")[0].endswith("/run")
        and 200 <= entry["response"]["status"] < 300
        for entry in entries
    )
    problems = {
        f"{finding.check} {finding.fact}"
        for finding in record.findings
        if finding.verdict in (Verdict.BREACH, Verdict.CONFLICT)
    }
    return problems, len(entries), runs
