"""Whatever a run creates is deleted, however it ends, and nothing else is changed or deleted."""

import json
import os
import re
import signal
from contextlib import contextmanager

import httpx
import pytest
from checking import PRINTED_FILE, knouds, sampled, started
from clocks import wait_until
from example_targets import write_profile
from raw_server import replacing

from knouds_harness.errors import ExitCode
from knouds_harness.exchange.creation_record import LEDGER_FILE, Ledger, append
from knouds_harness.exchange.recording import load_recordings
from knouds_harness.runs.record import read_run
from knouds_harness.runs.writer import RESERVE_FILE
from knouds_sandbox.serving import running_sandbox

ACCOUNTS = ("full", "business", "pro", "stranger", "admin", "granted", "ines", "otto")
FACT = "workflows.create-makes-slug-from-name"
LIMITS = 'credits = 3000\nconcurrency = 8\nallow = ["read", "write", "run", "cancel"]'
TIMEOUT_S = 120
NAME = "Harness 0123456789ab draft"
SENT = {"event": "sending", "number": 1, "user": "ada", "member": "name", "text": NAME}
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


@contextmanager
def throttling(sandbox, *, deletions, wait_s):
    """Refuse that many deletions of workflows; yield the server in front, and those that are left."""
    body = json.dumps({"error": "Slow down", "code": "RATE_LIMIT_EXCEEDED", "retryAfter": wait_s})
    head = f"HTTP/1.1 429 Too Many\r\nRetry-After: {wait_s}\r\nContent-Type: application/json\r\n"
    refused = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()] * deletions

    def instead(method, _):
        return refused.pop() if method == "DELETE" and refused else None

    with replacing(sandbox.base_url, instead=instead) as server:
        yield server.base_url, refused


@contextmanager
def creating(folder, *arguments):
    """Start a command, and wait until it has created three workflows."""

    def has_created():
        ledgers = (folder / "reports/runs").rglob(LEDGER_FILE)
        return sum(each.read_text().count('"created"') for each in ledgers) >= 3

    with started(folder, *arguments) as process:
        wait_while_running(process, has_created)
        yield process


def wait_while_running(process, holds):
    wait_until(lambda: holds() or process.poll() is not None)
    assert process.poll() is None


@pytest.fixture
def sandbox():
    """A sandbox that was started by hand, so it outlives the runs."""
    with running_sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def profile_of(tmp_path):
    """Write a profile into ``targets/``, where ``cleanup`` finds it by its name; return its path."""

    def profile_of(sandbox, **options):
        (tmp_path / "targets").mkdir(exist_ok=True)
        return str(write_profile(tmp_path / "targets", sandbox, limits=LIMITS, **options))

    return profile_of


@pytest.fixture
def note(tmp_path):
    """Write a ledger that says what a run has created, signed or not; return its folder."""

    def note(*events, is_signed=True, **header):
        folder = tmp_path / "reports/runs/20260301T090000Z-check-by-hand"
        folder.mkdir(parents=True)
        ledger = Ledger(write=lambda line: append(folder / LEDGER_FILE, line), id="1" if is_signed else None)
        for event in ({"event": "run", "ledger": "1", "target": "by-hand", **header}, *events):
            ledger.add(event)
        return folder

    return note


@pytest.fixture
def create(sandbox):
    """Create workflows of these names, as their user would."""

    def create(*names):
        for name in names:
            httpx.post(
                f"{sandbox.base_url}/api/workflows",
                headers={"x-api-key": sandbox.keys["full"]},
                json={"name": name},
            )

    return create


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("record", "not recorded: updateWorkflow-written"),
        ("load", f"{FACT} was broken"),
        pytest.param("check", FACT, marks=pytest.mark.nightly),
    ],
)
def test_workflow_not_proven_to_be_the_runs_own_is_not_touched(profile_of, tmp_path, command, says):
    """A create is answered with an older workflow, which is not changed or deleted, and is a breach."""
    with running_sandbox(seed=1, faults=("create-answers-an-existing-slug",)) as sandbox:
        before = workflows_of(sandbox)
        exit_code, printed = run(tmp_path, *COMMANDS[command], "--target", profile_of(sandbox))
        after = workflows_of(sandbox)

    assert after == before
    assert says in " ".join(printed.split())
    assert exit_code == ExitCode.BREACH


ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TOLD_TO_END = [(command, number) for command in ("check", "record") for number in ENDING]


@pytest.mark.parametrize(("command", "number"), sampled(TOLD_TO_END, every=5))
def test_terminated_command_cleans_up(sandbox, profile_of, tmp_path, command, number):
    """SIGTERM and SIGHUP work like Ctrl-C: all is deleted, a check has a report, and recordings are kept."""
    with creating(tmp_path, *COMMANDS[command], "--target", profile_of(sandbox)) as process:
        process.send_signal(number)
        exit_code = process.wait(TIMEOUT_S)

    assert exit_code == ExitCode.INTERRUPTED
    assert of_harness(sandbox) == []
    printed = (tmp_path / PRINTED_FILE).read_text()
    assert "Traceback" not in printed
    if command == "check":
        (folder,) = (tmp_path / "reports").glob("runs/*")
        assert "Interrupted" in printed
        assert "interrupted" in (folder / "report.html").read_text()
        record = read_run(folder)
        assert record.outcome == "interrupted"
        assert record.counts.exchanges == len(record.exchange_by_id)  # requests in flight were waited for
    else:
        assert f"{len(load_recordings(tmp_path / 'recordings'))} of " in printed


@pytest.mark.parametrize("command", sampled(["check", "record"], every=2))
def test_cleanup_deletes_what_a_killed_run_left(sandbox, profile_of, tmp_path, command):
    """And nothing else; a second cleanup has nothing to do."""
    profile, before = profile_of(sandbox), workflows_of(sandbox)
    with creating(tmp_path, *COMMANDS[command], "--target", profile) as process:
        process.kill()
    left = of_harness(sandbox)

    reserved = list(tmp_path.rglob(RESERVE_FILE))
    planned = run(tmp_path, "cleanup", "--dry-run")
    assert left
    assert reserved
    assert of_harness(sandbox) == left
    assert all(slug in planned[1] for slug in left)

    assert run(tmp_path, "cleanup")[0] == ExitCode.KEPT
    assert not [each for each in reserved if each.exists()]
    assert workflows_of(sandbox) == before
    assert run(tmp_path, "cleanup") == (ExitCode.KEPT, "Nothing to do: no run has left a workflow behind.\n")


def test_create_without_a_response_is_found_by_its_name(sandbox, create, profile_of, note, tmp_path):
    """The list shows what a run created that was killed before the response, and within a line."""
    profile_of(sandbox)
    create(NAME, "Harness of somebody else", f"{NAME} copied by a user")
    folder = note(SENT, base_url=sandbox.base_url)
    with (folder / LEDGER_FILE).open("a") as file:
        file.write('{"event": "sen')

    exit_code, printed = run(tmp_path, "cleanup")

    assert exit_code == ExitCode.KEPT, printed
    assert of_harness(sandbox) == ["harness-0123456789ab-draft-copied-by-a-user", "harness-of-somebody-else"]


def test_ledger_of_somebody_else_is_shown_and_not_acted_on(sandbox, create, profile_of, note, tmp_path):
    """``--trust`` lets it count, and then still only what shows a name with a token that was sent."""
    profile_of(sandbox)
    create(NAME, "Pipeline")
    forged = {"event": "created", "number": 2, "user": "ada", "slug": "pipeline"}
    profiled = {"event": "created", "number": 3, "user": "ada", "slug": "sunset-clip"}
    before = workflows_of(sandbox)
    folder = note(SENT, forged, profiled, is_signed=False, base_url=sandbox.base_url)

    shown = run(tmp_path, "cleanup")
    assert workflows_of(sandbox) == before
    trusted = run(tmp_path, "cleanup", "--trust", str(folder))

    assert shown[0] == trusted[0] == ExitCode.BREACH
    assert f"clean it up with --trust {folder.relative_to(tmp_path)}" in shown[1]
    assert all(f"not deleted {each}\n" in shown[1] for each in (NAME, "pipeline", "sunset-clip"))
    assert 'left pipeline: it is not deleted, as it is now named "Pipeline"' in trusted[1]
    assert before.keys() - workflows_of(sandbox).keys() == {"harness-0123456789ab-draft"}


@pytest.mark.parametrize("command", ["cleanup", "cleanup --dry-run", "cleanup --target by-hand"])
def test_run_of_another_server_ends_the_command(sandbox, profile_of, note, tmp_path, command):
    """Before the first request, with one sentence; its address is only compared."""
    profile_of(sandbox, base_url="http://127.0.0.1:9")
    note(SENT, base_url=sandbox.base_url)

    exit_code, printed = run(tmp_path, *command.split())

    assert exit_code == ExitCode.USAGE
    assert f"the run was on {sandbox.base_url}, and " in printed
    assert "targets/by-hand.toml is for http://127.0.0.1:9" in printed


@pytest.mark.parametrize(
    ("name", "option"), [("planted.toml", ()), ("./planted", ("--dry-run",)), (["planted"], ())]
)
def test_profile_that_a_run_names_is_not_read(sandbox, note, tmp_path, name, option):
    """Not by a path, and not by the name of a file that is not in ``targets/``."""
    planted = write_profile(tmp_path, sandbox, limits=LIMITS).rename(tmp_path / "planted.toml")
    note(SENT, target=name, profile=str(planted), base_url=sandbox.base_url)

    exit_code, printed = run(tmp_path, "cleanup", *option)

    assert exit_code == ExitCode.USAGE, printed
    assert "targets/ has no profile of that name" in printed


@pytest.mark.parametrize("command", sampled(["check", "record", "load"], every=3))
def test_deletion_waits_for_a_target_that_throttles(sandbox, profile_of, tmp_path, command):
    """Until all is deleted, even if the run itself does not wait any more."""
    deletions = 10 if command == "load" else 2  # load itself sends 8
    with throttling(sandbox, deletions=deletions, wait_s=1) as (base_url, refused):
        profile = profile_of(sandbox, base_url=base_url)
        _, printed = run(tmp_path, *QUICK[command], "--target", profile)

    assert "deleting it was answered 429: waiting 1 s" in printed
    assert refused == []
    assert of_harness(sandbox) == []


@pytest.mark.parametrize("command", sampled(["check", "record", "load"], every=3))
def test_failed_deletion_is_reported_with_a_cleanup_command(sandbox, profile_of, tmp_path, command):
    """Ctrl-C ends the wait with an exit code other than 0, and the command deletes the rest."""
    with throttling(sandbox, deletions=1000, wait_s=60) as (base_url, refused):
        profile = profile_of(sandbox, base_url=base_url)
        with started(tmp_path, *QUICK[command], "--target", profile) as process:
            wait_while_running(process, lambda: "waiting 60 s" in (tmp_path / PRINTED_FILE).read_text())
            process.send_signal(signal.SIGINT)
            exit_code = process.wait(TIMEOUT_S)
        printed, left = (tmp_path / PRINTED_FILE).read_text(), of_harness(sandbox)
        refused.clear()
        (cleanup,) = set(re.findall(r"knouds-harness (cleanup \S+) tries again", printed))
        cleaned = run(tmp_path, *cleanup.split())

    assert left
    assert all(slug in printed for slug in left)
    assert "deleting it was answered 429" in printed
    assert exit_code == ExitCode.BREACH
    assert cleaned[0] == ExitCode.KEPT
    assert of_harness(sandbox) == []


def test_cleanup_says_that_the_sandbox_of_a_run_is_gone(tmp_path):
    with creating(tmp_path, *COMMANDS["check"]) as process:
        process.kill()

    assert "the sandbox of this run has ended" in run(tmp_path, "cleanup")[1]
    assert "Nothing to do" in run(tmp_path, "cleanup")[1]


def test_cleanup_does_not_touch_a_running_run(sandbox, profile_of, tmp_path):
    with creating(tmp_path, *COMMANDS["check"], "--target", profile_of(sandbox)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        left = of_harness(sandbox)
        exit_code, printed = run(tmp_path, "cleanup")

    assert exit_code == ExitCode.BREACH
    assert f"process {process.pid} still runs" in printed
    assert "Nothing to do" not in printed
    assert of_harness(sandbox) == left
