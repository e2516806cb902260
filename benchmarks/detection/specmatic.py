"""Specmatic: makes contract tests of the document, one for each example and each variation of a request."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

from counted import Counted
from peers import CACHE, INSTALL_WITHIN_S, PeerFailed, comparable, run_peer
from prepared import write_openapi_30

VERSION = "2.55.3"
_JAR = CACHE / "specmatic" / "specmatic" / "core" / "specmatic.jar"


def install() -> str:
    """Take the jar out of the wheel on PyPI; Java 17 has to be there. Returns its version."""
    if not _JAR.exists():
        folder = CACHE / "specmatic"
        # an environment that uv made has no pip of its own
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip"]
        download = ("download", "--no-deps", "--dest", str(folder), f"specmatic=={VERSION}")
        subprocess.run([*pip, *download], check=True, timeout=INSTALL_WITHIN_S)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(folder)
    return VERSION


def run(sandbox: Counted, folder: Path) -> set[str]:
    """Every mismatch of every failed test: which answer, where, what was expected."""
    ended = run_peer(
        [
            *(
                "java",
                "-Xmx512m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-jar",
                str(_JAR),
                "test",
                write_openapi_30(sandbox, folder),
            ),
            *(f"--testBaseURL={sandbox.base_url}", "--junitReportDir=junit"),
        ],
        folder=folder,
        environ={"apiKey": sandbox.keys["business"], "EXTENSIBLE_SCHEMA": "true"},
    )
    try:
        suite = ET.parse(folder / "junit" / "TEST-junit-jupiter.xml").getroot()  # noqa: S314 - the peer's
    except (OSError, ET.ParseError) as problem:
        raise PeerFailed(f"no report: {problem}; {ended.stderr[-200:]}") from None
    return {
        problem
        for case in suite.iter("testcase")
        for failure in case.iter("failure")
        for problem in _problems(failure.get("message", ""))
    }


def _problems(message: str) -> set[str]:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    api = next((line for line in lines if line.startswith("API:")), "")
    problems, place = set(), ""
    for line in lines:
        if line.startswith(">>"):
            place = re.sub(r"\[\d+\]", "[]", line)
        elif line.startswith("Specification expected") or (place and line.startswith("R")):
            expected = line if "status" in line else line.partition(" but ")[0]  # values are random
            problems.add(comparable(f"{api} {place} {expected}"))
    return problems or {comparable(f"{api} {lines[-1] if lines else 'failed'}")}
