"""Promises of the commands that hold whatever a server says.

CI tries a sample; ``pytest tests/integration/test_lying_servers.py -m nightly`` tries every lie.
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import pytest
from checking import knouds
from example_targets import PRO, SmallProfile
from integration.echoed_secrets import FORMS, found_in
from integration.server_lies import ABOUT, LIES
from lying_server import KEYS, PRICE, honestly, lying_server

from knouds_harness.commands import cli
from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import RunningSandbox

LIMIT: Final = 60
LIMITS: Final = f"""credits = {LIMIT}
concurrency = 4
timeout_s = 3
fill_rate_windows = false
allow = ["read", "write", "run", "cancel"]"""
TABLES: Final = """
[workflows.portrait]
owner = "pia"
{price}inputs = {{ prompt = "a lighthouse" }}
[workflows.clip]
owner = "pia"
polled = true
deadline_s = 3
{price}inputs = {{ prompt = "the sun" }}
[workflows.notes]
owner = "pia"
has_generator = false
inputs = {{ prompt = "a word" }}
"""
MOST_MB: Final = 300
TIMEOUT_S: Final = 600  # a check waits up to 265 s for a target that throttles


def check(*families: str) -> tuple[str, ...]:
    return ("check", "--quick", "--examples", "1", "--seed", "1", *(f"--family={each}" for each in families))


def load(scenario: str, *more: str) -> tuple[str, ...]:
    return ("load", scenario, "--rate", "10", "--users", "8", "--duration", "2s", "--quiet", "--yes", *more)


def record(outcomes: str) -> tuple[str, ...]:
    return ("record", "--yes", "--folder", "recordings", "--update", "--outcome", outcomes)


CHECKED: Final = "(folder of a check)"
REPLAY: Final = ("replay", CHECKED)
SHOWN: Final = (
    *(("report", CHECKED), ("facts", "--run", CHECKED), ("compare", CHECKED, CHECKED)),
    ("verify", f"{CHECKED}/exchanges.har"),
)
COMMANDS: Final = {
    "secrets": (
        *(check("schemas", "workflows", "executions"), REPLAY, *SHOWN, load("mixed", "--verify")),
        *(("init",), ("doctor",), record("getW*-*"), record("getWhoami-*"), ("cleanup",)),
    ),
    "things": (check("workflows"), load("workflow_crud"), record("*Workflow-*"), REPLAY, ("cleanup",)),
    "money": (
        check("runs", "validation", "usage", "executions"),
        load("sync_runs", "--rate", "20"),
        record("runWorkflow-*"),
    ),
    "green": (check("schemas", "runs", "executions"), load("mixed"), record("runWorkflow-result")),
}
"""Commands, in order, for servers that lie about this subject."""
NEVER_GREEN: Final = {"secrets": ("check",), "things": ("check",), "green": ("check", "load", "record")}
"""Commands that must not end with exit code 0, by the subject of the lies."""
HARMLESS: Final = {
    "key in names": "new members and headers are additive",
    "writes are done and throttled": "429 is documented",
}
"""Lies that break no documented promise by themselves."""
NOT_KNOWN: Final = {"list of disguises"}
"""Lies that hide a creation without a slug, or its owner: the harness cannot know of it."""
NOT_PROVEN: Final = {"updating moves silently", *NOT_KNOWN}
"""Lies that leave something that no later list proves to be the harness's own."""
NOT_OF_RUNS: Final = {each for each in LIES if each.startswith("nothing is free")}
"""Lies that charge for requests other than runs, which the next reading of usage shows."""
MONEY_IN_CI: Final = ("free runs cost", "nothing is free: deleting")
"""The first needs the budget to reserve and usage to be read, the second a last reading at the end."""
IN_CI: Final = ("not deleted: success", "made twice", "code is key", *MONEY_IN_CI)
CASES: Final = [
    *(pytest.param(each, 1, id=f"{each}, check alone") for each in IN_CI),
    *(pytest.param(each, None, id=each, marks=pytest.mark.nightly) for each in LIES),
]


@pytest.fixture(scope="module", autouse=True)
def character_table():
    """Have Hypothesis make it first: the first check on a machine does, with 200 MB more memory."""
    make = "from hypothesis.internal.charmap import intervals_from_codec as make; make('utf-8')"
    folder = Path(gettempdir()) / "knouds-harness-hypothesis"
    environ = os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    subprocess.run([sys.executable, "-c", make], env=environ, check=True)


class Desk:
    """Runs commands, and checks the promises after each."""

    def __init__(self, folder, server, lie=""):
        self.folder, self.server, self.lie = folder / "work", server, lie
        self.mine, self.charged, self.left = server.mine(), 0, set()
        sandbox = RunningSandbox(base_url=server.base_url, keys=KEYS, control_token=None)
        small = SmallProfile(folder=folder, sandbox=sandbox, limits=LIMITS)
        small.key("full", PRO, user="pia", tier="business")
        small.key("reader", ("workflow:read",), user="pia", tier="business")
        price = "" if lie.startswith("estimated") else f"cost_credits = {PRICE}\n"
        small.resource(TABLES.format(price=price))
        self.profile = small.written()
        self.folder.mkdir()

    def give(self, words):
        """Run a command, and judge it; return the exit code."""
        to_target: tuple[str, ...] = () if words in SHOWN else ("--target", self.profile)
        if words[0] == "init":
            to_target = ("--url", self.server.base_url, "--key", "LYING_KEY", "--output", "made.toml")
        checked = next(self.folder.glob("reports/runs/*-check-*"), self.folder)
        words = tuple(word.replace(CHECKED, str(checked)) for word in words)
        ended = knouds(*words, *to_target, cwd=self.folder, timeout_s=TIMEOUT_S, LYING_KEY=KEYS["full"])
        self.judge(words[0], ended)
        return ended.returncode

    def judge(self, command, ended):
        """Assert the promises of every command, whatever a server says."""
        server, printed = self.server, ended.printed
        assert ended.returncode in set(ExitCode), printed
        assert ended.peak_mb < MOST_MB
        assert not shows_a_secret(printed.encode())
        for path in (each for each in self.folder.rglob("*") if each.is_file()):
            assert not shows_a_secret(path.read_bytes()), path
        assert [each for each in server.heard if has_key_elsewhere(each)] == []
        assert server.mine() == self.mine
        spent, self.charged = sum(server.charges) - self.charged, sum(server.charges)
        if self.lie not in NOT_OF_RUNS:  # what usage does not show, no response states either
            over = IN_FLIGHT * max(server.charges, default=0) if server.runs else 0
            assert spent <= LIMIT + over, server.charges
        assert spent <= LIMIT or ended.returncode == ExitCode.GUARD, printed
        before, self.left = self.left, server.left()
        left = self.left - (set() if command == "cleanup" else before)  # earlier commands reported the others
        if left and self.lie not in NOT_KNOWN and command in ("check", "load", "record", "cleanup"):
            assert ended.returncode != ExitCode.KEPT, printed
            assert "cleanup" in printed or command == "cleanup", printed


IN_FLIGHT: Final = 12
"""Concurrent runs, and runs without a reservation between two readings of usage."""


def shows_a_secret(content: bytes) -> bool:
    """Return whether content shows a secret in any form, also within a script's packed body."""
    packed = re.findall(rb"H4sI[A-Za-z0-9+/]{20,}={0,2}", content)
    whole = content + b"".join(gzip.decompress(base64.b64decode(each)) for each in packed)
    secrets = [*KEYS.values(), *(each.removeprefix("knouds_live_") for each in KEYS.values())]
    return any(found_in(whole, each) for each in secrets)


def has_key_elsewhere(request: bytes) -> bool:
    """Return whether a key was sent in a path or a body."""
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ")[1].partition(b"?")[0]
    return any(each.encode() in path + body for each in KEYS.values())


@pytest.mark.parametrize(("lie", "most"), CASES)
def test_promises_hold_whatever_a_server_says(tmp_path, lie, most):
    """No secret leaks, nothing is left or changed silently, no overspending, no unearned green."""
    about = ABOUT[lie]
    never = () if lie in HARMLESS else NEVER_GREEN.get(about, ())
    with lying_server(LIES[lie]) as server:
        desk = Desk(tmp_path, server, lie)

        for words in COMMANDS[about][:most]:
            exit_code = desk.give(words)
            assert exit_code != ExitCode.KEPT or words[0] not in never, words

        server.lie = honestly
        if server.left() and lie not in NOT_PROVEN:
            desk.give(("cleanup",))
            assert server.left() == set()


def test_every_command_meets_servers_that_echo_secrets():
    """A new command does too, or is listed here with its reason."""
    start_their_own_server = {"demo", "sandbox"}

    assert {words[0] for words in COMMANDS["secrets"]} | start_their_own_server == set(cli.COMMANDS)


@pytest.mark.nightly
@pytest.mark.parametrize("about", COMMANDS)
def test_honest_server_is_green(tmp_path, about):
    """So red results come from the lies."""
    with lying_server() as server:
        desk = Desk(tmp_path, server)

        assert desk.give(COMMANDS[about][0]) == ExitCode.KEPT
        assert server.left() == set()


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_secret_is_found(name):
    """So that the test itself can fail."""
    form = FORMS[name](KEYS["full"]).encode()

    assert shows_a_secret(b"x" + form + b"x")
    assert shows_a_secret(base64.b64encode(gzip.compress(b"%64d" % 7 + form)))
