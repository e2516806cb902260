"""The types that openapi-typescript makes of the document: ``calls.ts`` compiles with them, and calls all."""

import json
import shutil
from pathlib import Path

import pytest
from checking import run_program

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path

HERE = Path(__file__).parent
OPERATIONS = shipped_document().operation_by_id
STRICT = ("--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom")


@pytest.fixture(scope="module")
def run(node_tools, tmp_path_factory):
    """Run a program of the folder that holds ``calls.ts``, the types and the installed packages."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(node_tools.parent)
    for name in ("calls.ts", "package.json"):
        shutil.copy(HERE / name, folder)

    def run(*command, **variables):
        process = run_program(*command, cwd=folder, **variables)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    run("node", str(node_tools / "openapi-typescript"), str(document_path()), "--output", "knouds.ts")
    return run


def test_every_operation_is_called_with_the_types(run, node_tools, sandbox, slow_sandbox):
    """A member of another name or type would not compile."""
    run("node", str(node_tools / "tsc"), *STRICT, "calls.ts")

    output = run(
        *("node", "calls.js"),
        URL=sandbox.base_url,
        SLOW_URL=slow_sandbox.base_url,
        KEY=sandbox.keys["full"],
        HARBOUR=json.dumps(OPERATIONS["createWorkflow"].request_examples["harbour"]),
    )

    assert set(json.loads(output)) == set(OPERATIONS)
