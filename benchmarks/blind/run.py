"""Check a server by another author, healthy and with each of its faults.

``python benchmarks/blind/run.py flask --only usage``. A fault is caught if the check cites a fact that the
healthy server keeps. Servers and faults are never tuned to the suite: what is missed is a gap of the suite.
``--healthy 50`` looks for false alarms instead: the healthy server with so many seeds. ``--peer`` has
schemathesis look, with the document, a full key, one that only reads and one of another account: what it
reports of a fault and not of the healthy server is caught. ``go`` needs Go (apt-get install golang-go),
``node`` Node.js 20, ``ruby`` Sinatra and Puma (apt-get install ruby-sinatra puma).
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "detection"))
import schemathesis_alone
from counted import Counted

from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run

FOLDER = Path(__file__).parent
FUNDS = {
    "flask": {"low": "3", "trial_spent": '"exhausted"', "trial_pays": '"granted"'},
    "go": {"poor": "3", "trial_used": '"exhausted"', "trial_pays": '"granted"'},
    "node": {"poor": "3", "trial_used": '"exhausted"', "trial_pays": '"granted"'},
    "ruby": {"poor": "3", "trial_used": '"exhausted"', "trial_pays": '"granted"'},
}
PEER_KEYS = {
    "flask": {"business": "biz_all", "read-only": "pro_read", "stranger": "pro2_all"},
    "go": {"business": "business", "read-only": "pro_reader", "stranger": "rival"},
    "node": {"business": "business", "read-only": "pro_read", "stranger": "stranger"},
    "ruby": {"business": "full", "read-only": "pro_reader", "stranger": "business_two_full"},
}
PEER_WORKFLOWS = {
    "flask": ("atlas-hero", "window-shop"),
    "go": ("studio-cut", "open-window"),
    "node": ("billboard", "open-tide"),
    "ruby": ("poster", "public-poster"),
}
SIGNED_WITH = "whsec_of_the_blind_server"
STATED = ("owner", "public", "template", "polled", "needs_tier", "disabled", "fails", "cost_credits")
LIMITS = 'credits = 1_000_000\nconcurrency = 8\ntimeout_s = 10\nallow = ["read", "write", "run", "cancel"]'


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What one check found: facts in breach, its exit code, exchanges and seconds."""

    facts: frozenset[str]
    exit_code: int
    exchanges: int
    wall_s: float


def free_port() -> int:
    """A port of loopback that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@cache
def program(name: str) -> tuple[str, ...]:
    """The command of a server; the one in Go is built for it, into a folder that goes with this process."""
    if name == "node":
        return ("node", str(FOLDER / "node_server.mjs"), "--announce", "json")
    if name == "ruby":
        return ("ruby", str(FOLDER / "ruby_server.rb"))
    if name != "go":
        return (sys.executable, str(FOLDER / f"{name}_server.py"))
    folder = tempfile.mkdtemp(prefix="blind-go-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = str(Path(folder) / "server")
    subprocess.run(["go", "build", "-o", built, str(FOLDER / "go_server.go")], check=True)
    return (built,)


@contextmanager
def serving(name: str, *options: str) -> Iterator[dict[str, Any]]:
    """Start a server; what it says of itself in its first line."""
    command = [*program(name), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield json.loads(server.stdout.readline() if server.stdout else "")
        finally:
            server.terminate()


def profile_of(
    said: dict[str, Any], funds: Mapping[str, str], *, webhook_port: int, limits: str = LIMITS
) -> tuple[str, dict[str, str]]:
    """The profile of what the server says, and the variables with its secrets."""
    tables = [f'base_url = "{said["base_url"]}"\n\n[limits]\n{limits}']
    variables = {"BLIND_WEBHOOK": SIGNED_WITH}
    for name, key in said["keys"].items():
        variable = f"BLIND_{name.upper().replace('-', '_')}"
        variables[variable] = key["secret"]
        lines = [f'secret_env = "{variable}"', f"capabilities = {json.dumps(key['capabilities'])}"]
        lines += [f'{each} = "{key[each]}"' for each in ("user", "tier", "state", "role")]
        lines += [f"credits = {funds[name]}"] if name in funds else []
        lines += ["webhook = true"] if key["webhook"] else []
        if key.get("webhook_secret") not in (None, SIGNED_WITH):
            variables[f"{variable}_WEBHOOK"] = key["webhook_secret"]
            lines.append(f'webhook_secret_env = "{variable}_WEBHOOK"')
        tables.append("\n".join((f"[keys.{name.replace('_', '-')}]", *lines)))
    for kind in ("workflows", "models"):
        for name, told in said[kind].items():
            about = {"polled": told["async"], **told} if "async" in told else told
            lines = [f"{each} = {json.dumps(about[each])}" for each in STATED if each in about]
            lines += (
                ["has_generator = false"] if kind == "workflows" and about.get("cost_credits") == 0 else []
            )
            inputs = ", ".join(
                f"{key} = {json.dumps(value)}" for key, value in about.get("inputs", {}).items()
            )
            tables.append("\n".join((f'[{kind}."{name}"]', *lines, f"inputs = {{ {inputs} }}")))
    tables.append(
        f'[webhook]\nurl = "http://127.0.0.1:{webhook_port}/"\nlisten = "127.0.0.1:{webhook_port}"\n'
        'secret_env = "BLIND_WEBHOOK"'
    )
    return "\n\n".join(tables) + "\n", variables


def check(asked: argparse.Namespace, fault: str, seed: int) -> Checked:
    """Check a server with a fault; an empty text is none."""
    webhook_port = free_port()
    own = ["--webhook-url", f"http://127.0.0.1:{webhook_port}/", "--webhook-secret", SIGNED_WITH]
    own += [*(["--other-way"] if asked.other_way else []), *(["--fault", fault] if fault else [])]
    options = ["--seed", str(seed), *([] if asked.full else ["--quick"])]
    server = asked.server
    with tempfile.TemporaryDirectory() as name, serving(server, *own) as said:
        folder = Path(name)
        if asked.keys:
            said["keys"] = {each: said["keys"][each] for each in asked.keys.split(",")}
        text, variables = profile_of(said, FUNDS[server], webhook_port=webhook_port)
        (folder / "blind.toml").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "knouds_harness", "check", "--target", str(folder / "blind.toml")]
        begun = time.monotonic()
        done = subprocess.run(
            [*command, "--runs-folder", str(folder / "runs"), *options],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s = time.monotonic() - begun
        runs = list((folder / "runs").glob("*-check-*"))
        if not runs:
            sys.exit(f"{fault or 'healthy'}: exit {done.returncode}: {done.stderr}")
        record = read_run(runs[0])
        broken = {each.fact for each in record.findings if each.verdict in {Verdict.BREACH, Verdict.CONFLICT}}
        return Checked(
            facts=frozenset(broken),
            exit_code=done.returncode,
            exchanges=record.counts.exchanges,
            wall_s=wall_s,
        )


def report_of_peer(asked: argparse.Namespace, fault: str) -> Checked:
    """What schemathesis reports of a server with a fault, in place of facts."""
    own = [*(["--other-way"] if asked.other_way else []), *(["--fault", fault] if fault else [])]
    with tempfile.TemporaryDirectory() as folder, serving(asked.server, *own) as said:
        keys = {as_: said["keys"][name]["secret"] for as_, name in PEER_KEYS[asked.server].items()}
        workflow, public = PEER_WORKFLOWS[asked.server]
        server = Counted(
            base_url=said["base_url"], keys=keys, workflow=workflow, public_workflow=public, never_given={}
        )
        begun = time.monotonic()
        problems = schemathesis_alone.run_with_identities(server, Path(folder))
    return Checked(facts=frozenset(problems), exit_code=0, exchanges=0, wall_s=time.monotonic() - begun)


def main() -> None:
    """Print for each fault whether it was caught, and by which facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=FUNDS)
    parser.add_argument("--only", default="", help="Faults whose name has this in it")
    parser.add_argument("--full", action="store_true", help="Whole checks instead of --quick ones")
    parser.add_argument(
        "--other-way", action="store_true", help="Have the server decide open points otherwise"
    )
    parser.add_argument("--keys", default="", help="Write a profile of these keys of the server alone")
    parser.add_argument("--healthy", type=int, default=0, metavar="N", help="Check with N seeds and no fault")
    parser.add_argument("--peer", action="store_true", help="Have schemathesis look, not this suite")
    parser.add_argument("--at-once", type=int, default=3, help="How many checks run at once")
    asked = parser.parse_args()
    program(asked.server)  # built before there are threads
    if asked.healthy:
        look_for_false_alarms(asked)
        return
    judge = report_of_peer if asked.peer else partial(check, seed=1)
    healthy = judge(asked, "")
    print(shown(healthy))
    faults = faults_of(asked)
    with ThreadPoolExecutor(asked.at_once) as pool:
        found = pool.map(partial(judge, asked), faults)
        caught = dict.fromkeys((True, False), 0)
        for (fault, is_core), checked in zip(faults.items(), found, strict=True):
            facts = sorted(checked.facts - healthy.facts)
            caught[is_core] += bool(facts)
            words = (f"{fault}{' (core)' if is_core else ''}", ", ".join(facts))
            print("  ".join(("caught" if facts else "MISSED", *words)), flush=True)
    of_core = sum(faults.values())
    print(f"{sum(caught.values())} of {len(faults)} caught, of the core ones {caught[True]} of {of_core}")


def look_for_false_alarms(asked: argparse.Namespace) -> None:
    """Print what checks of the healthy server say is broken, one for each seed."""
    with ThreadPoolExecutor(asked.at_once) as pool:
        checks = pool.map(lambda seed: check(asked, "", seed), range(1, asked.healthy + 1))
        accused = 0
        for seed, checked in enumerate(checks, start=1):
            accused += bool(checked.facts)
            print(f"seed {seed}: {shown(checked)}", flush=True)
    print(f"{accused} of {asked.healthy} with false alarms")


def shown(checked: Checked) -> str:
    """What a check came to, in a line."""
    words = [f"exit {checked.exit_code}", f"{checked.exchanges} exchanges", f"{checked.wall_s:.0f} s"]
    return " ".join((", ".join(words), *sorted(checked.facts)))


def faults_of(asked: argparse.Namespace) -> dict[str, bool]:
    """The faults of a server whose name has the asked text in it, and whether they are core ones."""
    command = [*program(asked.server), "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if listed.startswith("["):
        is_core = {each["name"]: each["core"] for each in json.loads(listed)}
    else:
        rows = [line.split("\t") for line in listed.splitlines()]
        is_core = {name: "core" in more for name, *more in rows}
    return {name: core for name, core in is_core.items() if asked.only in name}


if __name__ == "__main__":
    main()
