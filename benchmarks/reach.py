"""How many facts a full check verifies with the keys and resources that an ordinary customer has.

    python benchmarks/reach.py [--only WORD ...] [--seed N]

Run by ``nox -s reach``. Each row is a profile of the sandbox without a control plane, checked as a user would
on a sandbox of its own, so that no row finds the windows that another one filled. Printed are the facts that
were verified and not tested, the first words of the verdict, the exit code, the time and the exchanges.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knouds_sandbox.serving import running_sandbox

WEBHOOK_URL = "http://127.0.0.1:18099/hooks/knouds"
WEBHOOK_VARIABLE = "KNOUDS_SANDBOX_WEBHOOK_SECRET"
WRONG_KEY_VARIABLE = "KNOUDS_REACH_WRONG_KEY"
WRONG_KEY = "knouds_live_" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
PRO = (
    "workflow:run",
    "workflow:read",
    "workflow:write",
    "execution:read",
    "execution:cancel",
    "webhook:receive",
)
LIMITS = """\
base_url_env = "KNOUDS_SANDBOX_URL"

[limits]
credits = 20_000
concurrency = 8
timeout_s = 10
allow = ["read", "write", "run", "cancel"]
"""


def variable_of(name: str) -> str:
    """The environment variable that holds a key of the sandbox."""
    return f"KNOUDS_SANDBOX_KEY_{name.upper().replace('-', '_')}"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key in a profile; its name is the persona of the sandbox that has it."""

    name: str
    capabilities: Sequence[str]
    user: str = "ines"
    tier: str = "pro"
    state: str = "active"
    variable: str | None = None

    def written(self, *, has_webhook: bool) -> Iterator[str]:
        """Its lines."""
        variable = self.variable or variable_of(self.name)
        yield from (f"\n[keys.{self.name}]", f'secret_env = "{variable}"')
        yield f"capabilities = {json.dumps(list(self.capabilities))}"
        yield from (f'user = "{self.user}"', f'tier = "{self.tier}"', f'state = "{self.state}"')
        if has_webhook and self.user == "ines":
            yield "webhook = true"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One profile.

    Attributes:
        name: What it offers.
        keys: Its keys.
        resources: Lines of its workflows and models.
        has_webhook: Whether the keys of ines have a webhook that leads to this machine.
        wanted: How many facts it should verify at least.
    """

    name: str
    keys: Sequence[Key]
    resources: Sequence[str] = field(default=())
    has_webhook: bool = False
    wanted: int = 0

    def profile(self) -> str:
        """The file."""
        lines = [line for key in self.keys for line in key.written(has_webhook=self.has_webhook)]
        webhook = f'\n\n[webhook]\nurl = "{WEBHOOK_URL}"\nsecret_env = "{WEBHOOK_VARIABLE}"\n'
        return LIMITS + "\n".join([*lines, *self.resources]) + (webhook if self.has_webhook else "")


UNPOLLED = '\n\n[workflows.ines-portrait]\nowner = "ines"\nimage_count_input = "count"'
POLLED = '\n\n[workflows.ines-clip]\nowner = "ines"\npolled = true\ndeadline_s = 30'
OTTO_PRIVATE = '\n\n[workflows.otto-portrait]\nowner = "otto"'
MODELS = """

[models.claude-sonnet]
inputs = { prompt = "a lighthouse at dusk" }
cost_credits = 3

[models.gpt-image-2]
inputs = { prompt = "a lighthouse at dusk" }
image_count_input = "count"
polled = true
deadline_s = 30
cost_credits = 15

[models.failing-model]
inputs = { prompt = "a lighthouse at dusk" }
polled = true
fails = true
deadline_s = 30
cost_credits = 5

[models.retired-model]
disabled = true
cost_credits = 5

[models.enterprise-model]
needs_tier = "enterprise"
cost_credits = 25"""

ONE_KEY = (Key(name="ines", capabilities=PRO),)
OTTO = (Key(name="otto", capabilities=PRO, user="otto"),)
SIXTEEN = (
    *ONE_KEY,
    Key(name="ines-none", capabilities=()),
    *(Key(name=f"ines-only-{each.replace(':', '-')}", capabilities=(each,)) for each in PRO),
    Key(name="ines-wildcard-workflow", capabilities=("workflow:*",)),
    Key(name="ines-wildcard-execution", capabilities=("execution:*",)),
    Key(name="ines-bound-workflow", capabilities=("workflow:ines-portrait:run",)),
    Key(name="ines-read-only", capabilities=PRO[1:2]),
    Key(name="ines-deploy", capabilities=PRO[:2]),
    Key(name="ines-full-deploy", capabilities=PRO[:3]),
    Key(name="ines-revoked", capabilities=PRO, state="revoked"),
    Key(name="ines-legacy", capabilities=PRO, state="legacy"),
)
BUSINESS = (Key(name="business", capabilities=(*PRO, "model:run"), user="bea", tier="business"),)

ROWS = (
    Row(name="one key, one workflow", keys=ONE_KEY, resources=(UNPOLLED,), wanted=115),
    Row(name="one key, one polled workflow", keys=ONE_KEY, resources=(POLLED,), wanted=125),
    Row(
        name="two accounts, each a key and a workflow",
        keys=ONE_KEY + OTTO,
        resources=(UNPOLLED, OTTO_PRIVATE),
        wanted=120,
    ),
    Row(name="16 keys, both workflows", keys=SIXTEEN, resources=(UNPOLLED, POLLED), wanted=140),
    Row(
        name="16 keys, both workflows, models of a Business account",
        keys=SIXTEEN + BUSINESS,
        resources=(UNPOLLED, POLLED, MODELS),
    ),
    Row(
        name="the same with a webhook",
        keys=SIXTEEN + BUSINESS,
        resources=(UNPOLLED, POLLED, MODELS),
        has_webhook=True,
        wanted=172,
    ),
    Row(
        name="a wrong key",
        keys=(Key(name="ines", capabilities=PRO, variable=WRONG_KEY_VARIABLE),),
        resources=(UNPOLLED,),
    ),
)


def check(row: Row, folder: Path, *, seed: int, environment: Mapping[str, str]) -> tuple[int, float, Any]:
    """Check with one profile: exit code, seconds, and the summary that the run wrote."""
    profile = folder / f"{row.name.replace(' ', '-').replace(',', '')}.toml"
    profile.write_text(row.profile(), encoding="utf-8")
    runs = folder / f"{profile.stem}-runs"
    command = [sys.executable, "-m", "knouds_harness", "check", "--target", str(profile), "--seed", str(seed)]
    start = time.perf_counter()
    process = subprocess.run(
        [*command, "--runs-folder", str(runs)],
        env={**os.environ, **environment, WRONG_KEY_VARIABLE: WRONG_KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s = time.perf_counter() - start
    summaries = list(runs.glob("*/summary.json"))
    if not summaries:
        sys.exit(f"{row.name}: the check left no summary\n{process.stdout}{process.stderr}")
    return process.returncode, wall_s, json.loads(summaries[0].read_text(encoding="utf-8"))


def main() -> None:
    """Check with each profile, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="rows whose name has a word")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("| profile | verified | wanted | exit code | time | exchanges | verdict |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if not any(word in row.name for word in arguments.only):
                continue
            with running_sandbox(seed=arguments.seed, webhook_url=WEBHOOK_URL) as sandbox:
                environment = {
                    "KNOUDS_SANDBOX_URL": sandbox.base_url,
                    WEBHOOK_VARIABLE: sandbox.webhook_secret or "",
                    **{variable_of(name): secret for name, secret in sandbox.keys.items()},
                }
                exit_code, wall_s, summary = check(
                    row, Path(folder), seed=arguments.seed, environment=environment
                )
            facts = summary["counts"]["facts"]
            print(
                f"| {row.name} | {facts['verified']} of {sum(facts.values())} | {row.wanted or ''} "
                f"| {exit_code} | {wall_s:.0f} s | {summary['counts']['exchanges']:,} "
                f"| {summary['verdict']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
