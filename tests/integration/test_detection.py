"""The comparison with other tools: what it counts, and what it gives them."""

import json
import sys
from pathlib import Path

from checking import run_program

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"
OURS, PLAIN = "knouds-harness check --quick", "schemathesis, full key"
MEMBERS = ("tool", "fault", "problems", "version")
FIRST, SECOND, THIRD = "whoami-is-203", "whoami-lacks-email", "health-is-text"


def python(*arguments):
    """Run Python like someone who starts the comparison."""
    ended = run_program(sys.executable, *arguments, PYTHONPATH=str(FOLDER))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_new_problems_of_faults_that_every_tool_was_run_on_count(tmp_path):
    """Those of a healthy sandbox are false alarms."""
    results: tuple[tuple[str, str, list[str]], ...] = (
        *((OURS, "healthy-1", ["noise"]), (OURS, "healthy-2", ["other noise"]), ("Dredd", "healthy-1", [])),
        *((OURS, FIRST, ["noise", "other noise"]), (OURS, SECOND, ["noise", "a problem"])),
        *((OURS, THIRD, ["a problem"]), ("Dredd", FIRST, []), ("Dredd", SECOND, [])),
    )
    path = tmp_path / "results.jsonl"
    lines = (json.dumps(dict(zip(MEMBERS, (*each, "1"), strict=True))) for each in results)
    path.write_text("\n".join(lines), encoding="utf-8")

    text = python(str(FOLDER / "run.py"), "--minutes", "0", "--tool", PLAIN, "--results", str(path))

    assert f"| {OURS} | 1 | **1** of 2 | 2 |" in text
    assert "| Dredd | 1 | **0** of 2 |" in text


def test_sandbox_counts_requests_and_runs():
    code = """
import httpx
from counted import counted_sandbox
with counted_sandbox(seed=1, fault=None) as sandbox:
    with httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys["business"]}) as client:
        client.get("/api/health")
        client.post("/api/workflows/bea-portrait/run", json={"inputs": []})
        client.post("/api/workflows/bea-portrait/run", json={"inputs": {}})
print(sandbox.requests, sandbox.runs)
"""
    assert python("-c", code).split() == ["3", "1"]
