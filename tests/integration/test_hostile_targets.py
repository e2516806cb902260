"""Any hostile response leads to a finding, and each command ends in time, in bounds, with a message.

A sample; with ``EVERY_CASE=1`` (``nox -s chaos``) every case meets every command.
"""

import json
import os
import signal
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final
from xml.etree import ElementTree as ET

import pytest
import trustme
from checking import FAILING, Ended, knouds, sampled
from example_targets import PRO, SmallProfile, write_profile
from hostile_traffic import BROKEN_HTTP, BROKEN_JSON, HARMLESS, NO_ANSWER, altered
from loading import scenario_of
from raw_server import replacing, serving

from knouds_harness.errors import ExitCode
from knouds_harness.reporting.render import render_all
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.suite.options import RunOptions
from knouds_harness.suite.session import open_run
from knouds_sandbox.serving import RunningSandbox

BEYOND_BOUNDS: Final = (
    *("100 MB", "an endless body without a length", "endless chunks", "2,000,000 numbers"),
    *("3,000,000 brackets, packed", "1,300,000 objects, packed", "nested 100,000 times"),
    *("gzip bomb", "gzip in gzip", "Brotli bomb"),
)
"""Longer, deeper or of more values than the harness reads, so that nothing is claimed about them."""
CASES: Final = {**BROKEN_JSON, **BROKEN_HTTP, **NO_ANSWER, **HARMLESS}
LIMITS: Final = 'credits = 0\nconcurrency = 4\ntimeout_s = 1\nallow = ["read"]'
WHOLE_LIMITS: Final = (
    'credits = 100_000\nconcurrency = 4\ntimeout_s = 2\nallow = ["read", "write", "run", "cancel"]'
)
TIMEOUT_S: Final = 120
MOST_MB: Final = 300
"""A command needs 115 MB if there is no response."""
USERS: Final = 2

TO_RUNS: Final = ("--runs-folder", "runs")
COMMANDS: Final = {
    "check": ("check", "--family", "schemas", "--operation", "listUsage", "--quick", "--seed", "1", *TO_RUNS),
    "record": ("record", "--outcome", "listUsage-*", "--yes", "--folder", "recordings"),
    "doctor": ("doctor",),
    "load": ("--users", str(USERS), "--duration", "1s", "--quiet", *TO_RUNS),
}
ATTACKED: Final = {
    "check": "/api/usage",
    "record": "/api/usage",
    "doctor": "/api/whoami",
    "load": "/api/usage",
}
BROKEN_EXITS: Final = frozenset({ExitCode.BREACH, ExitCode.UNREACHABLE})
"""A finding, or the end of the run after five requests in a row without a response."""
TELLS_DOCTOR_NOTHING: Final = {"no content type"}
"""Broken, but not in anything that a profile describes."""
CERTIFICATES: Final = ("of another host", "expired", "of nobody known", "none", "garbage")

ONE_ANSWER: Final = [(name, command) for name in CASES for command in COMMANDS]
NO_TARGET: Final = [(name, command) for name in NO_ANSWER for command in COMMANDS]
BAD_TLS: Final = [(name, command) for name in CERTIFICATES for command in COMMANDS]


def some(pairs, *sample):
    """Return the sample, or all on request."""
    return pairs if os.environ.get("EVERY_CASE") else list(sample)


CONTRADICTS_THE_PROFILE: Final = {"escape sequences", "markup"}  # no key belongs to the expected account
ANSWERING: Final = [
    name for name in (*BROKEN_JSON, *BROKEN_HTTP) if name not in (*CONTRADICTS_THE_PROFILE, *BEYOND_BOUNDS)
]
SILENT: Final = list(NO_ANSWER)  # each waits for a timeout with every key of the profile


def every_success(attack, *, of=None):
    """Replace every 200 of this path, or of any but that of health."""

    def choose(target, status):
        path = target.partition("?")[0]
        return attack if status == 200 and (path == of if of else path != "/api/health") else None

    return choose


def asked(folder, sandbox, attack, timeout_s=2):
    """Send getWhoami, which is attacked, and listWorkflows: exit code, and operations with findings."""
    limits = WHOLE_LIMITS.replace("timeout_s = 2", f"timeout_s = {timeout_s}")
    with replacing(sandbox.base_url, every_success(attack, of="/api/whoami")) as proxy:
        profile = write_profile(folder, sandbox, base_url=proxy.base_url, limits=limits)
        with open_run(RunOptions(target=str(profile), seed=0, runs_folder=folder / "runs")) as run:
            run.begin()
            full = run.target.personas["full"]
            run.tester.send("getWhoami", full)
            assert run.tester.send("listWorkflows", full).status == 200
            exit_code = run.conclude(was_interrupted=False)
    record = read_run(run.recorder.writer.folder)
    render_all(record.folder)
    assert record.gaps == ()
    har = json.loads((record.folder / "exchanges.har").read_text(encoding="utf-8"))
    assert len(har["log"]["entries"]) == record.counts.exchanges
    return exit_code, {each.operation for each in record.findings if each.verdict in FAILING}


@pytest.mark.parametrize("name", [*sampled(ANSWERING, every=5), *sampled(SILENT, every=len(SILENT))])
def test_hostile_response_is_a_finding_about_its_operation(tmp_path, sandbox, name):
    assert asked(tmp_path, sandbox, CASES[name]) == (ExitCode.BREACH, {"getWhoami"})


@pytest.mark.parametrize("name", [*HARMLESS, *BEYOND_BOUNDS])
def test_unusual_but_allowed_response_is_not_a_finding(tmp_path, sandbox, name):
    # 100 MB take a while on a busy machine
    assert asked(tmp_path, sandbox, CASES[name], timeout_s=30) == (ExitCode.KEPT, set())


@pytest.mark.parametrize("families", sampled(["schemas workflows", ""], every=2))
def test_values_of_the_wrong_type_do_not_break_the_harness(tmp_path, sandbox, families):
    """Every check tolerates them; the shapes judge them."""
    with replacing(sandbox.base_url, every_success(altered(Random(1), share=0.3))) as proxy:
        profile = write_profile(tmp_path, sandbox, base_url=proxy.base_url, limits=WHOLE_LIMITS)
        selection = [f"--family={each}" for each in families.split()]
        process = knouds("check", "--target", profile, "--quick", "--seed", "1", *selection, cwd=tmp_path)

    assert process.returncode == ExitCode.BREACH
    assert [line for line in process.stdout.splitlines() if ".py:" in line or "Error:" in line] == []
    assert process.stderr == ""


def run(
    folder: Path, sandbox: RunningSandbox, base_url: str, command: str, environ: dict[str, str] | None = None
) -> Ended:
    """Run a command on a target: it ends in time and in bounds, and prints nothing that a terminal obeys."""
    small = SmallProfile(folder=folder, sandbox=replace(sandbox, base_url=base_url), limits=LIMITS)
    profile = small.key("full", PRO, user="ada", tier="enterprise").written()
    words = COMMANDS[command]
    if command == "load":
        objectives = folder / "objectives.toml"
        objectives.write_text('[mine."*"]\nerror_rate = 0\n', encoding="utf-8")
        scenario = scenario_of(folder, "    tasks = [list_usage]\n")
        words = ("load", scenario, *words, "--objectives", str(objectives))
    return judged(knouds(*words, "--target", profile, cwd=folder, timeout_s=TIMEOUT_S, **(environ or {})))


def judged(ended: Ended) -> Ended:
    """Assert what holds however a command ends."""
    assert ended.peak_mb < MOST_MB
    assert "\x1b" not in ended.printed
    assert not any(line.startswith("::") for line in ended.printed.splitlines())
    return ended


def report_of(folder: Path) -> RunRecord:
    """Return the record of the only run; its reports can be read, and nothing in them runs."""
    (run_folder,) = folder.iterdir()
    record = read_run(run_folder)
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    ET.parse(run_folder / "junit.xml")  # noqa: S314 - our own
    assert record.gaps == ()
    assert "alert(1)</script>" not in page
    assert "\x1b" not in page
    return record


@pytest.mark.parametrize(
    ("name", "command"),
    some(
        ONE_ANSWER,
        ("escape sequences", "check"),
        ("2,000,000 numbers", "check"),
        ("3,000,000 brackets, packed", "check"),
        ("nested 100,000 times", "record"),
        ("a reset in the body", "record"),
        ("markup", "doctor"),
        ("a charset", "doctor"),
        ("endless chunks of two bytes", "load"),
        ("1,300,000 objects, packed", "load"),
    ),
)
def test_hostile_response_of_one_operation_fails_each_command(tmp_path, sandbox, name, command):
    """A broken response fails the run, an unusual one does not; the rest of the run is in the report."""
    with replacing(sandbox.base_url, every_success(CASES[name], of=ATTACKED[command])) as proxy:
        ended = run(tmp_path, sandbox, proxy.base_url, command)
        heard = sum(b" /api/usage" in each.partition(b"\r\n")[0] for each in proxy.requests)

    is_sound = name in HARMLESS or (command == "doctor" and name in TELLS_DOCTOR_NOTHING)
    exits = frozenset({ExitCode.KEPT}) if is_sound else BROKEN_EXITS
    exits |= {ExitCode.KEPT, ExitCode.USAGE} if name in BEYOND_BOUNDS else set()  # or nothing was tested
    exits |= {ExitCode.INVALID_MEASUREMENT} if command == "load" else set()  # on a busy machine
    assert ended.returncode in exits, ended.printed
    if command == "check":
        assert report_of(tmp_path / "runs").counts.exchanges > 2
        (har,) = tmp_path.glob("runs/*/exchanges.har")
        verify = ("verify", str(har), "--runs-folder", "verified")
        verified = judged(knouds(*verify, cwd=tmp_path, timeout_s=TIMEOUT_S))
        is_sound = name in (*HARMLESS, *BEYOND_BOUNDS)
        assert verified.returncode == (ExitCode.KEPT if is_sound else ExitCode.BREACH)
        assert report_of(tmp_path / "verified").counts.exchanges > 2
    if command == "load" and ended.returncode != ExitCode.UNREACHABLE:
        load = report_of(tmp_path / "runs").load
        assert load is not None
        counted = sum(each.requests for each in load.results.operations)
        assert 0 <= heard - counted <= USERS  # in flight at the end


@pytest.mark.parametrize(
    ("name", "command"), some(NO_TARGET, ("a reset before the status line", "load"), ("silence", "check"))
)
def test_target_without_a_valid_response_is_unreachable(tmp_path, sandbox, name, command):
    with replacing(sandbox.base_url, lambda *_: CASES[name]) as proxy:
        ended = run(tmp_path, sandbox, proxy.base_url, command)

    assert ended.returncode == ExitCode.UNREACHABLE, ended.printed


@pytest.mark.parametrize(("name", "command"), some(BAD_TLS, ("expired", "record")))
def test_target_with_an_invalid_certificate_is_unreachable(tmp_path, sandbox, name, command):
    """No key is ever sent to it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    is_expired = datetime(2020, 1, 1, tzinfo=UTC) if name == "expired" else None
    host = "elsewhere.example" if name == "of another host" else "127.0.0.1"
    authority.issue_cert(host, not_after=is_expired).configure_cert(context)
    trusted = tmp_path / "trusted.pem"
    (trustme.CA() if name == "of nobody known" else authority).cert_pem.write_to_path(trusted)
    garbage = {"none": b"HTTP/1.1 400 Bad Request\r\n\r\n", "garbage": b"\x16\x03\x01\xff\xff" * 99}.get(name)

    def speak(server, connection):
        if garbage is None:
            server.read_request(connection)
        else:
            connection.recv(4096)
            connection.sendall(garbage)

    with serving(speak, None if garbage else context) as server:
        base_url = server.base_url.replace("http:", "https:")
        ended = run(tmp_path, sandbox, base_url, command, {"SSL_CERT_FILE": str(trusted)})

    assert ended.returncode == ExitCode.UNREACHABLE, ended.printed
    assert "TLS" in ended.printed
    assert server.requests == []


@pytest.mark.parametrize(
    ("number", "command"),
    some(
        [(number, command) for number in (signal.SIGKILL, signal.SIGSTOP) for command in ("check", "load")],
        (signal.SIGKILL, "check"),
    ),
)
def test_target_that_dies_or_stalls_is_never_green(tmp_path, spawn, number, command):
    """Earlier results are in the report."""
    with spawn() as (process, said, _):
        sandbox = RunningSandbox(base_url=said["base_url"], keys=said["keys"], control_token=None)
        left = iter(range(5 if command == "check" else 15))

        def choose(*_):
            if next(left, None) is None:
                process.send_signal(number)

        with replacing(sandbox.base_url, choose) as proxy:
            ended = run(tmp_path, sandbox, proxy.base_url, command)

    assert ended.returncode in BROKEN_EXITS, ended.printed
    record = report_of(tmp_path / "runs")
    if command == "check":
        assert record.counts.answers["200"] >= 4
        assert record.counts.answers["none"] >= 1
    else:
        assert record.load is not None
        (usage,) = record.load.results.operations
        assert usage.by_status["ok"] >= 1
        assert usage.by_status["failed"] >= 1
