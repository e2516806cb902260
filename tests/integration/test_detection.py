"""The comparison with other tools: what it counts, and what it gives them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"
OURS, PLAIN = "knouds-harness check --quick", "schemathesis, full key"
FIRST, SECOND, THIRD = "whoami-is-203", "whoami-lacks-email", "health-is-text"


def python(*arguments):
    """Run Python like someone who starts the comparison."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


@pytest.fixture
def table(tmp_path):
    """Make the table of some results: tool, fault, reported problems."""

    def table(*results):
        path = tmp_path / "results.jsonl"
        lines = (
            json.dumps({"tool": tool, "version": "1", "fault": fault, "problems": problems})
            for tool, fault, problems in results
        )
        path.write_text("\n".join(lines), encoding="utf-8")
        return python(str(FOLDER / "run.py"), "--minutes", "0", "--tool", PLAIN, "--results", str(path))

    return table


def test_problems_of_the_healthy_sandbox_do_not_count(table):
    """They are false alarms."""
    text = table(
        (OURS, "healthy-1", ["noise"]),
        (OURS, "healthy-2", ["other noise"]),
        (OURS, FIRST, ["noise", "other noise"]),
        (OURS, SECOND, ["noise", "a problem"]),
    )

    assert f"| {OURS} | 1 | **1** of 2 | 2 |" in text


def test_only_faults_that_every_tool_was_run_on_count(table):
    text = table(
        *((tool, "healthy-1", []) for tool in (OURS, "Dredd")),
        *((OURS, fault, ["a problem"]) for fault in (FIRST, SECOND, THIRD)),
        *(("Dredd", fault, []) for fault in (FIRST, THIRD)),
    )

    assert f"| {OURS} | 1 | **2** of 2 |" in text
    assert "| Dredd | 1 | **0** of 2 |" in text


@pytest.mark.parametrize("made", ["document", "as_openapi_30(document)"])
def test_peers_get_a_valid_document(made):
    code = f"""
from openapi_spec_validator import validate
from counted import Counted
from prepared import as_openapi_30, document_for
document = document_for(Counted(base_url="", keys={{}}), {{}})
validate({made})
"""
    python("-c", code)


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
