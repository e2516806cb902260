"""What a run creates is deleted, however the run ends, and nothing else is changed or deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from checking import PRINTED_FILE, check_for_record, started
from hand_started import write_profile
from sampling import sampled

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.created_workflows import LEDGER_FILE
from knouds_harness.runs.record import read_run
from knouds_sandbox.serving import running_sandbox

ACCOUNTS = ("full", "business", "pro", "stranger", "admin", "granted", "ines", "otto")
FACT = "workflows.create-makes-slug-from-name"
LIMITS = 'credits = 3000\nconcurrency = 8\nallow = ["read", "write", "run", "cancel"]'
COMMAND = [sys.executable, "-c", "from knouds_harness.commands.cli import main; main()"]
TIMEOUT_S = 120


def workflows_of(sandbox):
    """Every workflow, whole, by slug."""
    found = {}
    for name in ACCOUNTS:
        with httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys[name]}) as client:
            for line in client.get("/api/workflows").json():
                found[line["slug"]] = client.get(f"/api/workflows/{line['slug']}").json()
    return found


def of_harness(sandbox):
    """The slugs of workflows that the harness has created."""
    return [slug for slug in workflows_of(sandbox) if slug.startswith("harness")]


def run(folder, *arguments):
    """Run a command to its end: the exit code, and what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


def wait_for_creations(folder, process, *, least=3):
    """Return once workflows have been created."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline_s:
        ledgers = list(folder.glob(f"reports/runs/*/{LEDGER_FILE}"))
        ledgers += folder.glob(f"reports/runs/.record-*/*/{LEDGER_FILE}")
        if sum(each.read_text().count('"created"') for each in ledgers) >= least:
            return
        assert process.poll() is None, (folder / PRINTED_FILE).read_text()
        time.sleep(0.02)
    raise AssertionError((folder / PRINTED_FILE).read_text())


@pytest.fixture
def sandbox():
    """A sandbox that was started by hand: it outlives the runs."""
    with running_sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def lying_sandbox():
    """A sandbox that answers a create with another workflow of the account."""
    with running_sandbox(seed=1, faults=("create-answers-an-existing-slug",)) as sandbox:
        yield sandbox


@pytest.fixture
def profile_of(tmp_path):
    """Writes the profile of a sandbox."""
    return lambda sandbox: str(write_profile(tmp_path, sandbox, limits=LIMITS))


@pytest.mark.nightly
def test_check_touches_no_workflow_that_it_cannot_prove_to_be_its_own(lying_sandbox, profile_of, tmp_path):
    """Nothing that existed is changed or deleted, and the create is a breach of its fact."""
    before = workflows_of(lying_sandbox)

    record = check_for_record(tmp_path, "--target", profile_of(lying_sandbox), "--examples", "3")

    assert workflows_of(lying_sandbox) == before
    assert FACT in {each.fact for each in record.findings}
    assert record.exit_code == ExitCode.BREACH


def test_record_touches_no_workflow_that_it_cannot_prove_to_be_its_own(lying_sandbox, profile_of, tmp_path):
    """Nothing that existed is changed or deleted, and what needed a workflow is not recorded."""
    before = workflows_of(lying_sandbox)
    arguments = ("--target", profile_of(lying_sandbox), "--yes", "--folder", "recordings")

    exit_code, printed = run(tmp_path, "record", *arguments, "--outcome", "*Workflow-*")

    assert workflows_of(lying_sandbox) == before
    assert "not recorded: updateWorkflow-written" in printed
    assert exit_code == ExitCode.BREACH


def test_load_touches_no_workflow_that_it_cannot_prove_to_be_its_own(lying_sandbox, profile_of, tmp_path):
    """Nothing that existed is changed or deleted, and the create is a breach of its fact."""
    before = workflows_of(lying_sandbox)
    arguments = ("--target", profile_of(lying_sandbox), "--users", "2", "--duration", "2s")

    exit_code, printed = run(tmp_path, "load", "workflow_crud", *arguments)

    assert workflows_of(lying_sandbox) == before
    assert f"{FACT} was broken" in " ".join(printed.split())
    assert exit_code == ExitCode.BREACH


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_check_that_is_told_to_end_cleans_up(sandbox, profile_of, tmp_path, number):
    """SIGTERM and SIGHUP end a check as Ctrl-C does: all is deleted, and there is a report."""
    with started(tmp_path, "check", "--target", profile_of(sandbox), "--family", "workflows") as process:
        wait_for_creations(tmp_path, process)
        process.send_signal(number)
        exit_code = process.wait(TIMEOUT_S)

    (folder,) = (tmp_path / "reports/runs").iterdir()
    assert exit_code == ExitCode.INTERRUPTED
    assert read_run(folder).outcome == "interrupted"
    assert (folder / "report.html").is_file()
    assert of_harness(sandbox) == []


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_record_that_is_told_to_end_cleans_up(sandbox, profile_of, tmp_path, number):
    """SIGTERM and SIGHUP end a recording as Ctrl-C does: all is deleted, also its own folder."""
    arguments = ("record", "--target", profile_of(sandbox), "--yes", "--outcome", "*Workflow*")
    with started(tmp_path, *arguments, "--folder", "recordings") as process:
        wait_for_creations(tmp_path, process)
        process.send_signal(number)
        exit_code = process.wait(TIMEOUT_S)

    assert exit_code == ExitCode.INTERRUPTED
    assert of_harness(sandbox) == []
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("command", sampled(["check", "record"], every=2))
def test_what_a_killed_run_has_left_can_be_deleted(sandbox, profile_of, tmp_path, command):
    """After SIGKILL, cleanup deletes what the run created and nothing else, and then has nothing to do."""
    profile, before = profile_of(sandbox), workflows_of(sandbox)
    arguments = {"check": ("--family", "workflows"), "record": ("--yes", "--folder", "recordings")}[command]
    with started(tmp_path, command, "--target", profile, *arguments) as process:
        wait_for_creations(tmp_path, process)
        process.kill()
    left = of_harness(sandbox)

    planned = run(tmp_path, "cleanup", "--dry-run")
    assert left
    assert of_harness(sandbox) == left
    assert all(slug in planned[1] for slug in left)

    assert run(tmp_path, "cleanup")[0] == ExitCode.KEPT
    assert workflows_of(sandbox) == before
    assert run(tmp_path, "cleanup") == (ExitCode.KEPT, "Nothing to do: no run has left a workflow behind.\n")


def test_a_create_without_an_answer_is_found_by_its_name(sandbox, profile_of, tmp_path):
    """Where a run was killed before the answer came, the list tells what was created."""
    folder = tmp_path / "runs/20260301T090000Z-check-by-hand"
    folder.mkdir(parents=True)
    name = "Harness 0123456789ab draft"
    headers = {"x-api-key": sandbox.keys["full"]}
    with httpx.Client(base_url=sandbox.base_url, headers=headers) as client:
        for each in (name, "Harness of somebody else", f"{name} copied by a user"):
            client.post("/api/workflows", json={"name": each})
    lines = [
        {"event": "run", "target": "by-hand", "profile": profile_of(sandbox), "base_url": sandbox.base_url},
        {"event": "sending", "number": 1, "user": "ada", "member": "name", "text": name, "token": name[8:20]},
    ]
    text = "".join(f"{json.dumps(each)}\n" for each in lines)
    (folder / LEDGER_FILE).write_text(f'{text}{{"event": "sen')

    exit_code, printed = run(tmp_path, "cleanup", "--runs-folder", "runs")

    assert exit_code == ExitCode.KEPT, printed
    assert of_harness(sandbox) == [
        "harness-0123456789ab-draft-copied-by-a-user",
        "harness-of-somebody-else",
    ]


def test_cleanup_of_a_sandbox_that_is_gone_says_so(tmp_path):
    """The built-in sandbox of a killed run has ended with it."""
    with started(tmp_path, "check", "--family", "workflows") as process:
        wait_for_creations(tmp_path, process)
        process.kill()

    assert "the sandbox of this run has ended" in run(tmp_path, "cleanup")[1]
    assert "Nothing to do" in run(tmp_path, "cleanup")[1]


def test_cleanup_leaves_a_run_alone_that_still_goes_on(sandbox, profile_of, tmp_path):
    """A run that still goes on cleans up itself."""
    with started(tmp_path, "check", "--target", profile_of(sandbox), "--family", "workflows") as process:
        wait_for_creations(tmp_path, process)
        os.kill(process.pid, signal.SIGSTOP)
        left = of_harness(sandbox)
        printed = run(tmp_path, "cleanup")[1]

    assert f"process {process.pid} still runs" in printed
    assert of_harness(sandbox) == left
