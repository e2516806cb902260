"""Whatever a run creates is deleted, however it ends, and nothing else is changed or deleted."""

import json
import os
import re
import signal
import time

import httpx
import pytest
from checking import PRINTED_FILE, knouds, sampled, started
from example_targets import write_profile
from raw_server import replacing

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.created_workflows import LEDGER_FILE
from knouds_harness.runs.record import read_run
from knouds_sandbox.serving import running_sandbox

ACCOUNTS = ("full", "business", "pro", "stranger", "admin", "granted", "ines", "otto")
FACT = "workflows.create-makes-slug-from-name"
LIMITS = 'credits = 3000\nconcurrency = 8\nallow = ["read", "write", "run", "cancel"]'
TIMEOUT_S = 120
COMMANDS = {
    "check": ("check", "--family", "workflows", "--examples", "3"),
    "record": ("record", "--yes", "--folder", "recordings", "--outcome", "*Workflow-*"),
    "load": ("load", "workflow_crud", "--users", "2", "--duration", "2s"),
}
QUICK = {
    "check": ("check", "--fact", "workflows.move-body"),
    "record": ("record", "--yes", "--folder", "recordings", "--outcome", "createWorkflow-as-read"),
    "load": ("load", "workflow_crud", "--rate", "4", "--duration", "2s"),
}


def workflows_of(sandbox):
    """Return every workflow, whole, by slug."""
    found = {}
    for name in ACCOUNTS:
        with httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys[name]}) as client:
            for line in client.get("/api/workflows").json():
                found[line["slug"]] = client.get(f"/api/workflows/{line['slug']}").json()
    return found


def of_harness(sandbox):
    return [slug for slug in workflows_of(sandbox) if slug.startswith("harness")]


def run(folder, *arguments):
    done = knouds(*arguments, cwd=folder)
    return done.returncode, done.stdout + done.stderr


class Throttle:
    """Refuse a number of deletions of workflows."""

    def __init__(self, *, times, wait_s):
        self.times, self.wait_s = times, wait_s

    def instead(self, method, _):
        if method != "DELETE" or not self.times:
            return None
        self.times -= 1
        body = json.dumps({"error": "Slow down", "code": "RATE_LIMIT_EXCEEDED", "retryAfter": self.wait_s})
        head = f"HTTP/1.1 429 Too Many\r\nRetry-After: {self.wait_s}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def wait_for_creations(folder, process, *, least=3):
    def are_there():
        ledgers = list(folder.glob(f"reports/runs/*/{LEDGER_FILE}"))
        ledgers += folder.glob(f"reports/runs/.record-*/*/{LEDGER_FILE}")
        return sum(each.read_text().count('"created"') for each in ledgers) >= least

    wait_until(are_there, process)


def wait_until(holds, process):
    deadline_s = time.monotonic() + TIMEOUT_S
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture
def sandbox():
    """A sandbox that was started by hand, so it outlives the runs."""
    with running_sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def lying_sandbox():
    """A sandbox that answers a create with another workflow of the account."""
    with running_sandbox(seed=1, faults=("create-answers-an-existing-slug",)) as sandbox:
        yield sandbox


@pytest.fixture
def profile_of(tmp_path):
    return lambda sandbox: str(write_profile(tmp_path, sandbox, limits=LIMITS))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("record", "not recorded: updateWorkflow-written"),
        ("load", f"{FACT} was broken"),
        pytest.param("check", FACT, marks=pytest.mark.nightly),
    ],
)
def test_workflow_not_proven_to_be_the_runs_own_is_not_touched(
    lying_sandbox, profile_of, tmp_path, command, says
):
    """No older workflow is changed or deleted, and the create is a breach."""
    before = workflows_of(lying_sandbox)

    exit_code, printed = run(tmp_path, *COMMANDS[command], "--target", profile_of(lying_sandbox))

    assert workflows_of(lying_sandbox) == before
    assert says in " ".join(printed.split())
    assert exit_code == ExitCode.BREACH


TOLD_TO_END = [(command, each) for command in ("check", "record") for each in (signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize(("command", "number"), sampled(TOLD_TO_END, every=4))
def test_terminated_command_cleans_up(sandbox, profile_of, tmp_path, command, number):
    """SIGTERM and SIGHUP work like Ctrl-C: all is deleted, and a check has a report."""
    arguments = {
        "check": ("check", "--family", "workflows"),
        "record": ("record", "--yes", "--outcome", "*Workflow*", "--folder", "recordings"),
    }[command]
    with started(tmp_path, *arguments, "--target", profile_of(sandbox)) as process:
        wait_for_creations(tmp_path, process)
        process.send_signal(number)
        exit_code = process.wait(TIMEOUT_S)

    assert exit_code == ExitCode.INTERRUPTED
    assert of_harness(sandbox) == []
    folders = list((tmp_path / "reports").glob("runs/*"))
    assert [read_run(each).outcome for each in folders] == ["interrupted"] * (command == "check")
    assert all((each / "report.html").is_file() for each in folders)


@pytest.mark.parametrize("command", sampled(["check", "record"], every=2))
def test_cleanup_deletes_what_a_killed_run_left(sandbox, profile_of, tmp_path, command):
    """And nothing else; a second cleanup has nothing to do."""
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


def test_create_without_a_response_is_found_by_its_name(sandbox, profile_of, tmp_path):
    """The list shows what a run created that was killed before the response."""
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
    assert of_harness(sandbox) == ["harness-0123456789ab-draft-copied-by-a-user", "harness-of-somebody-else"]


@pytest.mark.parametrize("command", sampled(["check", "record", "load"], every=3))
def test_deletion_waits_for_a_target_that_throttles(sandbox, tmp_path, command):
    """Until all is deleted, even if the run itself does not wait any more."""
    throttle = Throttle(times=10 if command == "load" else 2, wait_s=1)  # load itself sends 8

    with replacing(sandbox.base_url, instead=throttle.instead) as server:
        profile = write_profile(tmp_path, sandbox, base_url=server.base_url, limits=LIMITS)
        _, printed = run(tmp_path, *QUICK[command], "--target", str(profile))

    assert "deleting it was answered 429: waiting 1 s" in printed
    assert throttle.times == 0
    assert of_harness(sandbox) == []


@pytest.mark.parametrize("command", sampled(["check", "record", "load"], every=3))
def test_failed_deletion_is_reported_with_a_cleanup_command(sandbox, tmp_path, command):
    """Ctrl-C ends the wait with an exit code other than 0, and the command deletes the rest."""
    throttle = Throttle(times=1000, wait_s=60)
    with replacing(sandbox.base_url, instead=throttle.instead) as server:
        profile = write_profile(tmp_path, sandbox, base_url=server.base_url, limits=LIMITS)
        with started(tmp_path, *QUICK[command], "--target", str(profile)) as process:
            wait_until(lambda: "waiting 60 s" in (tmp_path / PRINTED_FILE).read_text(), process)
            process.send_signal(signal.SIGINT)
            exit_code = process.wait(TIMEOUT_S)
        printed, left = (tmp_path / PRINTED_FILE).read_text(), of_harness(sandbox)
        throttle.times = 0
        (cleanup,) = set(re.findall(r"knouds-harness (cleanup \S+) tries again", printed))
        cleaned = run(tmp_path, *cleanup.split())

    assert left
    assert all(slug in printed for slug in left)
    assert "deleting it was answered 429" in printed
    assert exit_code == ExitCode.BREACH
    assert cleaned[0] == ExitCode.KEPT
    assert of_harness(sandbox) == []


def test_cleanup_says_that_the_sandbox_of_a_run_is_gone(tmp_path):
    with started(tmp_path, "check", "--family", "workflows") as process:
        wait_for_creations(tmp_path, process)
        process.kill()

    assert "the sandbox of this run has ended" in run(tmp_path, "cleanup")[1]
    assert "Nothing to do" in run(tmp_path, "cleanup")[1]


def test_cleanup_does_not_touch_a_running_run(sandbox, profile_of, tmp_path):
    with started(tmp_path, "check", "--target", profile_of(sandbox), "--family", "workflows") as process:
        wait_for_creations(tmp_path, process)
        os.kill(process.pid, signal.SIGSTOP)
        left = of_harness(sandbox)
        exit_code, printed = run(tmp_path, "cleanup")

    assert exit_code == ExitCode.BREACH
    assert f"process {process.pid} still runs" in printed
    assert "Nothing to do" not in printed
    assert of_harness(sandbox) == left
