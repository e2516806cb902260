"""The command line of the sandbox."""

import contextlib
import socket
import sqlite3
from unittest import mock

import pytest
import uvicorn
from click.testing import CliRunner

from knouds_sandbox import app
from knouds_sandbox.command import sandbox
from knouds_sandbox.errors import SandboxError
from knouds_sandbox.faults import FAULTS
from knouds_sandbox.seeding import key_secret
from knouds_sandbox.serving import running_sandbox


def run(*arguments):
    return CliRunner().invoke(sandbox, arguments, standalone_mode=False)


def problem_of(*arguments):
    problem = run("--port", "0", *arguments).exception
    assert isinstance(problem, SandboxError)
    return str(problem)


@pytest.fixture
def banner(monkeypatch):
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    return lambda *options: run("--port", "0", *options).output


def test_every_key_is_printed_with_its_use(banner):
    lines = banner().splitlines()

    assert lines[0].startswith("Knouds sandbox on http://127.0.0.1:")
    at = lines.index(f"export KNOUDS_SANDBOX_KEY_OTTO={key_secret(0, 'otto')}")
    assert lines[at - 2 : at] == [
        "# otto, pro: execution:cancel execution:read webhook:receive workflow:read",
        "#   workflow:run workflow:write",
    ]
    at = lines.index(f"export KNOUDS_SANDBOX_KEY_LEGACY={key_secret(0, 'legacy')}")
    assert lines[at - 1] == "# ada, enterprise: refused: legacy"
    assert [line for line in lines if len(line) > 80 and "knouds_live_" not in line] == []


def test_what_was_switched_on_is_printed(banner):
    assert "Requests choose their outcome with the header Prefer" in banner("--prefer").splitlines()
    assert "Prefer" not in banner()


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ([], ()),
        (["--allow-host", "box"], ("box",)),
        (["--host", "0.0.0.0"], None),  # noqa: S104
        (["--host", "0.0.0.0", "--allow-host", "box"], ("box",)),  # noqa: S104
    ],
)
def test_hosts_are_checked_on_loopback_or_if_named(banner, options, allowed):
    """On another address its names are not known, and webhooks do not go to loopback."""
    with mock.patch.object(app, "build_app", wraps=app.build_app) as build:
        banner(*options)

    built = build.call_args.kwargs
    assert built["allowed_hosts"] == allowed
    assert built["receivers"].allows_loopback == ("--host" not in options)


def test_pages_of_named_origins_may_ask(monkeypatch, ask_app):
    """A browser asks first, by OPTIONS, and gets an answer without a key."""
    served = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, **_: served.append(self.config.app))
    run("--port", "0", "--allow-origin", "https://app.example.com")

    def asked(origin, method="OPTIONS"):
        headers = {"origin": origin, "access-control-request-method": "PUT"}
        headers["access-control-request-headers"] = "x-api-key, content-type"
        return ask_app(served[0], method, "/api/workflows/portrait", headers=headers)

    preflight, refused = asked("https://app.example.com"), asked("https://app.example.com", "GET")
    assert preflight.status_code == 200
    assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "access-control-allow-origin" not in asked("https://evil.example.com").headers


def test_end_says_which_faults_were_met(monkeypatch, ask_app):
    def serve(server, **_):
        ask_app(server.config.app, "GET", "/api/health")

    monkeypatch.setattr(uvicorn.Server, "run", serve)

    output = run("--port", "0", "--fault", "whoami-lacks-email", "--fault", "health-is-text").output

    assert output.splitlines()[-2:] == ["fault health-is-text: met", "fault whoami-lacks-email: never met"]


def test_faults_are_listed():
    lines = run("--list-faults").output.splitlines()

    assert [line.split(maxsplit=2) for line in lines] == [
        [fault.id, fault.fact, f"{fault.says} [subtle]" if fault.is_subtle else fault.says]
        for fault in FAULTS
    ]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--fault", "auth-revoked-acepted", 'Did you mean "auth-revoked-accepted"'),
        ("--latency", "slow", '--latency "slow": expected none, realistic, or milliseconds up to'),
        ("--time-scale", "0", "--time-scale 0.0: expected a number above 0"),
        ("--db", "/dev/null/x", "--db /dev/null/x: unable to open"),
        ("--control-token", "", "--control-token is empty"),
        ("--control-token", "\xe9", "or has characters that no header can have"),
        ("--webhook-network", "10.0.0.1/8", '--webhook-network "10.0.0.1/8": 10.0.0.1/8 has host bits'),
        *(
            ("--webhook-url", url, "not an http or https URL")
            for url in ("hooks.example.com", "ftp://hooks.example.com", "http://", "http://[::")
        ),
        ("--host", "203.0.113.1", "cannot listen on 203.0.113.1"),
    ],
)
def test_wrong_option_is_explained(option, value, message):
    assert message in problem_of(option, value)


def test_file_of_another_program_is_left_alone(tmp_path):
    notes, other = tmp_path / "notes.db", tmp_path / "other.db"
    notes.write_text("These are notes, not a database. " * 100)
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE accounts (id)")

    assert "file is not a database" in problem_of("--db", str(notes))
    assert "not a database of this version of the sandbox" in problem_of("--db", str(other))
    assert notes.read_text().startswith("These are notes")


def test_database_in_use_is_explained(tmp_path):
    with running_sandbox(database=tmp_path / "some.db"):
        assert "database is locked" in problem_of("--db", str(tmp_path / "some.db"))


def test_taken_port_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert f"port {port} of 127.0.0.1 is taken" in problem_of("--port", str(port))
