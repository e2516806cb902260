"""Secrets planted in every place are found nowhere afterwards, whatever command ran."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from example_targets import free_port, write_profile
from integration.echoed_secrets import FORGED, FORMS, found_in
from raw_server import Answered, Proxied, RawServer, Relayed, proxying

from knouds_harness.commands.cli import COMMANDS
from knouds_harness.exchange.evidence import JSON
from knouds_sandbox.serving import running_sandbox

pytestmark = pytest.mark.nightly  # one whole check, one demo, and every other command
LIMITS = 'credits = 100_000\nconcurrency = 4\ntimeout_s = 5\nallow = ["read", "write", "run", "cancel"]'
WITHOUT_SECRETS = {"sandbox": "prints the keys of the sandbox that it starts: they open nothing else"}
COVERED = {
    *("check", "cleanup", "compare", "demo", "doctor", "facts", "init", "load", "record", "replay"),
    *("report", "verify"),
}
COOKIE: Final = "c00kie5e55ion7d1e9a44b2f0"
TOKEN: Final = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c4n4ry51gn4tur3"
SIGNATURE: Final = "51gnedcanary8c1f00d5e7a9"
EMAIL: Final = "canary.person@private.example"
USER_ID: Final = "usr_canary_0f9e8d7c"
_BROKEN_ON: Final = "/api/usage/models"


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """Secrets, which must show nowhere, and private data, which must not be in what is kept for good."""

    secrets: Sequence[str]
    private: Sequence[str] = (COOKIE, TOKEN, SIGNATURE, EMAIL, USER_ID)


@contextmanager
def leaking(base_url: str, webhook_secret: str) -> Iterator[RawServer]:
    """Stand in front of a server, and plant secrets in headers, bodies, URLs, error texts and broken HTTP."""

    def answer(relayed: Relayed, asked: Callable[[], Answered]) -> Proxied:
        answered, key = asked(), relayed.header("x-api-key")
        if relayed.target.partition("?")[0] == _BROKEN_ON and key:
            broken = f"HTTP/1.1 200 OK\r\nX-Odd: a\0{key}\r\n\r\n".encode("latin-1")
            return lambda connection: connection.sendall(broken)
        told = _told(key, webhook_secret)
        planted = (
            ("X-Debug-Key", key),
            ("X-Debug-Hook", webhook_secret),
            ("Set-Cookie", f"session={COOKIE}; HttpOnly"),
            ("X-Forwarded-Url", told["url"]),
        )
        content = answered.content
        return replace(
            answered,
            reason=f"Key {key}",
            headers=(*answered.headers, *planted),
            content=_escaped(_planted(json.loads(content), told), key) if content else b"",
        ).in_bytes()

    with proxying(base_url, answer) as server:
        yield server


def _told(key: str, webhook_secret: str) -> dict[str, Any]:
    """Return all secrets, in the forms in which servers echo them."""
    return {
        "apiKey": key,
        "shouted": key.upper(),
        "text": f"Traceback (most recent call last): KeyError: '{key}' with whsec {webhook_secret}",
        "authorization": f"Bearer {TOKEN}",
        "secret": webhook_secret,
        "url": f"https://media.example/a.png?X-Amz-Signature={SIGNATURE}&key={quote(key)}",
        "owner": {"userId": USER_ID, "email": EMAIL},
        "forms": {name: form(key) for name, form in FORMS.items() if key},
        "forged": FORGED,
        "list": [key, f"see {EMAIL}", f"token={TOKEN}"],
    }


def _planted(document: Any, told: dict[str, Any]) -> Any:
    if isinstance(document, list):
        return [*document, {"slug": "debug", "debug": told}]
    planted = {**document, "debug": told}
    if "success" in document:
        planted["success"] = told["apiKey"]  # read by checks, which quote it
    if isinstance(document.get("user"), dict):
        planted["user"] = {**document["user"], "role": told["apiKey"]}
    if "code" in document:
        planted["code"] = told["apiKey"]
    if isinstance(document.get("error"), str):
        planted["error"] = f"{document['error']} {told['text']}"
    return planted


def _escaped(document: Any, key: str) -> bytes:
    """Return JSON with every second character of the key escaped; parsing undoes that."""
    plain = json.dumps(document)
    if not key:
        return plain.encode()
    spelled = "".join(f"\\u{ord(char):04x}" for char in key)
    first, *rest = plain.split(key)
    return (first + "".join((spelled if at % 2 else key) + part for at, part in enumerate(rest))).encode()


@dataclass
class Desk:
    """Runs commands, and searches what they print and leave behind."""

    folder: Path
    profile: Path
    leaks: Leaks
    printed: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **env: str) -> str:
        """Run a command; keep its output under its words."""
        process = subprocess.run(
            [sys.executable, "-m", "knouds_harness", *arguments],
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.folder / "tmp"), "NO_COLOR": "1", **env},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.printed[" ".join(arguments)] = process.stdout + process.stderr
        return process.stdout + process.stderr

    def runs(self, kind: str) -> list[str]:
        return sorted(str(path) for path in (self.folder / "runs").glob(f"*-{kind}-*"))

    def leaked(self, values, *, below: str = ".") -> list[str]:
        """Return where any of the values shows: in a file, its name, or printed output."""
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in (self.folder / below).rglob("*")
            if path.is_file()
        }
        printed = {f"printed by {words}": text.encode() for words, text in self.printed.items()}
        return [
            f"{place}: {value}"
            for place, content in {**files, **(printed if below == "." else {})}.items()
            for value in values
            if found_in(content + place.encode(), value)
        ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Every command, run on a server that leaks everything, or on what such a server answered."""
    private, folder = tmp_path_factory.mktemp("private"), tmp_path_factory.mktemp("desk")
    (folder / "tmp").mkdir()
    hook = f"http://127.0.0.1:{free_port()}/hooks/knouds"
    with (
        running_sandbox(webhook_url=hook) as sandbox,
        leaking(sandbox.base_url, sandbox.webhook_secret or "") as proxy,
    ):
        profile = write_profile(
            private, sandbox, base_url=proxy.base_url, webhook=f'url = "{hook}"', limits=LIMITS
        )
        leaks = Leaks(secrets=[*sandbox.keys.values(), sandbox.webhook_secret or ""])
        at_work = Desk(folder, profile, leaks)
        _give_commands(at_work, str(profile), proxy.base_url)
    return at_work


def _give_commands(desk: Desk, profile: str, base_url: str) -> None:
    to_target = ("--target", profile)
    words = ("--url", base_url, "--key", "CANARY_KEY", "--output", "written.toml")
    desk.run("init", *words, CANARY_KEY=desk.leaks.secrets[0])
    desk.run("doctor", *to_target)
    some_of_each = (
        ("--family", "authentication", "--operation", "getWhoami"),
        ("--family", "usage"),
        ("--family", "webhooks"),
    )
    for some in some_of_each:
        desk.run("check", *to_target, "--runs-folder", "runs", "--quick", "--seed", "1", *some)
    for run in desk.runs("check"):
        desk.run("report", run)
        desk.run("verify", f"{run}/exchanges.har", "--runs-folder", "runs", "--base-url", base_url)
    desk.run("replay", desk.runs("check")[0], *to_target)
    desk.run("facts", "--run", desk.runs("check")[0])
    desk.run("cleanup", *to_target, "--runs-folder", "runs")
    desk.run("compare", *desk.runs("check")[:2], "--output", "compared")
    (desk.folder.parent / "traffic.har").write_text(json.dumps(_browser_traffic(desk)))
    desk.run("verify", str(desk.folder.parent / "traffic.har"), "--runs-folder", "runs")
    desk.run("record", *to_target, "--folder", "recordings", "--yes", *_outcomes("getWhoami-*", "receive*"))
    desk.run("record", *to_target, "--folder", "recordings", "--yes", "--update", *_outcomes("*Usage*"))
    desk.run("record", *to_target, "--folder", "recordings", "--yes", "--update", *_outcomes("getWhoami-*"))
    desk.run("record", "--folder", "captured", "--from", str(desk.folder.parent / "traffic.har"))
    desk.run(
        *("load", "mixed", *to_target, "--rate", "20", "--duration", "3s", "--verify", "--yes"),
        *("--runs-folder", "runs", "--credits", "1000"),
    )
    desk.run("--debug", "load", "mixed", *to_target, "--rate", "20", "--duration", "1s", "--fault", "x")
    desk.run("--debug", "check", "--target", str(_broken_profile(desk, "base_url")))
    desk.run("--debug", "doctor", "--target", str(_broken_profile(desk, "secret")))


def _outcomes(*patterns: str) -> list[str]:
    return [word for pattern in patterns for word in ("--outcome", pattern)]


def _broken_profile(desk: Desk, what: str) -> Path:
    """Write profiles that are refused or have no target; their secrets stay the same."""
    text = desk.profile.read_text()
    if what == "base_url":
        text = re.sub(r'base_url = ".*"', f'base_url = "http://127.0.0.1:{free_port()}"', text)
    else:
        key = (desk.profile.parent / "key-full").read_text()
        (desk.profile.parent / "key-cut").write_text(f"{key}\nä {key}")
        text = text.replace('"key-full"', '"key-cut"')
    path = desk.profile.with_name(f"broken-{what}.toml")
    path.write_text(text)
    return path


def _browser_traffic(desk: Desk) -> JSON:
    """Write a browser's HAR with a key, a cookie, a token and a signed URL in plain text."""
    key = desk.leaks.secrets[0]
    body = json.dumps(
        {
            "user": {"id": "u1", "email": EMAIL, "role": "user", "tier": "pro", "approved": True},
            "token": TOKEN,
            "avatar": f"https://media.example/a.png?X-Amz-Signature={SIGNATURE}",
            "session": COOKIE,
            "apiKey": key,
        }
    )
    entry = {
        "startedDateTime": "2026-11-25T12:00:00Z",
        "time": 3,
        "request": {
            "method": "GET",
            "url": "https://api.example/api/whoami",
            "headers": [
                {"name": "x-api-key", "value": key},
                {"name": "cookie", "value": f"session={COOKIE}"},
                {"name": "authorization", "value": f"Bearer {TOKEN}"},
            ],
        },
        "response": {
            "status": 200,
            "headers": [
                {"name": "content-type", "value": "application/json"},
                {"name": "set-cookie", "value": f"session={COOKIE}"},
            ],
            "content": {"text": body, "size": len(body)},
        },
    }
    return {"log": {"version": "1.2", "entries": [entry]}}


def test_every_command_is_covered():
    """A new command is run here too, or is listed with a reason why it knows no secret."""
    assert set(COMMANDS) == COVERED | WITHOUT_SECRETS.keys()


@pytest.mark.parametrize("command", sorted(COVERED - {"demo"}))
def test_command_printed_something(desk, command):
    """And a traceback only with --debug."""
    printed = {words: text for words, text in desk.printed.items() if command in words.split()}

    assert printed
    assert all(text.strip() for text in printed.values())
    assert [words for words, text in printed.items() if "--debug" not in words and 'File "' in text] == []


def test_canaries_were_planted(desk):
    """Evidence shows pseudonyms instead of them, and there are findings."""
    run = Path(desk.folder, desk.runs("check")[0])
    har = (run / "exchanges.har").read_text()

    assert "{{key:full}}" in har
    assert "{{hidden}}" in har
    assert "debug" in har
    assert (run / "findings.jsonl").read_text().count("\n") > 3
    assert len(desk.runs("verify")) >= 4
    assert len(desk.runs("load")) == 1
    assert list((desk.folder / "recordings").glob("*.json"))
    assert list((desk.folder / "captured").glob("*.json"))


def test_keys_and_signing_secrets_show_nowhere(desk):
    """Not in a file, file name or printed line, in any case or encoding."""
    assert desk.leaked(desk.leaks.secrets) == []


def test_reproductions_read_no_variable_named_by_the_server(desk):
    """When they are run, it would be read from the environment and sent."""
    lines = [
        line
        for run in (desk.folder / "runs").glob("*/findings.jsonl")
        for line in run.read_text().splitlines()
    ]
    commands = [json.loads(line).get(name) or "" for line in lines for name in ("curl", "script")]

    assert any(commands)
    assert [command for command in commands if re.search(r"[^']*\$\{?\w*CANARY", unquoted(command))] == []


def unquoted(command: str) -> str:
    """Return a command without comments and single-quoted parts."""
    return re.sub(r"'[^']*'|(?m:^# .*$)", "", command.partition("<<'END'")[2] or command)


def test_cookies_show_nowhere(desk):
    assert desk.leaked([COOKIE]) == []


def test_recordings_show_nothing_private(desk):
    """They are kept for good: no email address, user, token or signature of a URL either."""
    planted = [*desk.leaks.secrets, *desk.leaks.private]

    assert desk.leaked(planted, below="recordings") == []
    assert desk.leaked(planted, below="captured") == []


def test_verified_traffic_shows_no_secret(desk):
    """It comes from a browser with a login."""
    newest = desk.runs("verify")[-1]

    assert desk.leaked([*desk.leaks.secrets, COOKIE, TOKEN, SIGNATURE], below=newest) == []


def test_found_in_finds_every_form():
    value = 'knouds_live_ab"c/d_0123456789'
    forms = [value, value.upper(), json.dumps(value), "knouds_live_ab%22c%2Fd_0123456789"]
    forms += ["".join(f"{slash}u{ord(char):04x}" for char in value) for slash in ("\\", "\\\\")]
    forms += [each for form in FORMS.values() for each in (form(value), json.dumps(form(value)))]
    hidden = [base64.b64encode(b"x" * n + value.encode() + b"yz").decode() for n in range(3)]

    assert all(found_in(f"<{form}>".encode(), value) for form in forms + hidden)
    assert not found_in(b"knouds_live_ab", value)


@pytest.mark.slow
def test_demo_shows_no_key_of_its_sandbox(tmp_path):
    """Its keys follow from the seed that it prints."""
    (tmp_path / "tmp").mkdir()
    desk = Desk(tmp_path, tmp_path, Leaks(secrets=()))

    printed = desk.run("demo")

    seed = re.search(r"seed (\d+)", printed)
    assert seed is not None, printed
    with running_sandbox(seed=int(seed[1])) as sandbox:
        assert desk.leaked(sandbox.keys.values()) == []
