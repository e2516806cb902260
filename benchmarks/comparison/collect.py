"""Real load runs for ``judge.py``: of one sandbox, and of the same one made slower, in turn.

    python benchmarks/comparison/collect.py POOL [--rounds 30] [--rate 200] [--seconds 15]

Each run has a sandbox of its own, whose providers take lognormal times (median 200 ms, spread 0.3), and loads
it with ``one_model.py``. A slower server has a longer time scale, or takes 1.8 times as long for every
twentieth answer, so that p99 is 20 % longer and p50 hardly 2 %: nothing is done to the figures. A round has
two runs of the plain server and one of each slower one, in random order, so that what the machine does
meanwhile meets all alike. Runs gather in the folder; it can be interrupted, and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knouds_harness.load.generator.launching import LoadCommand, launch
from knouds_sandbox.providers import Latency, ProviderModel
from knouds_sandbox.serving import running_sandbox

SCENARIO = Path(__file__).with_name("one_model.py")
TIME_SCALE = 0.08
"""Of claude-sonnet's 2.5 s."""
WARM_UP_S = 2.0


@dataclass(frozen=True, kw_only=True)
class SlowTail(Latency):
    """Some answers take longer, all others as long as ever."""

    share: float = 0.05
    factor: float = 1.8

    def job_s(self, models: Sequence[ProviderModel], draw: random.Random, *, is_async: bool) -> float:
        """Seconds until the slowest of these models is done."""
        seconds = super().job_s(models, draw, is_async=is_async)
        return seconds * (self.factor if draw.random() < self.share else 1.0)


LATENCIES = {
    "plain": Latency(fixed_s=None, time_scale=TIME_SCALE),
    "slower-10": Latency(fixed_s=None, time_scale=TIME_SCALE * 1.1),
    "slower-20": Latency(fixed_s=None, time_scale=TIME_SCALE * 1.2),
    "slower-tail": SlowTail(fixed_s=None, time_scale=TIME_SCALE),
}
ROUND = ("plain", *LATENCIES)


def main() -> None:
    """Collect rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=15, help="measured, after the warm-up")
    options = parser.parse_args()
    options.pool.mkdir(parents=True, exist_ok=True)
    log = options.pool / "pool.jsonl"
    done = log.read_text(encoding="utf-8").count("\n") if log.exists() else 0
    chance = random.Random(done)
    plan = [kind for _ in range(options.rounds) for kind in chance.sample(ROUND, len(ROUND))]
    with log.open("a", encoding="utf-8") as file:
        for number, kind in enumerate(plan, start=done):
            entry = {"kind": kind, **run(kind, number, options)}
            file.write(f"{json.dumps(entry)}\n")
            file.flush()
            print(number, entry, flush=True)


def run(kind: str, number: int, options: argparse.Namespace) -> dict[str, object]:
    """One run; its number is its seed, as a sandbox repeats its latencies under the same one."""
    token = secrets.token_urlsafe(24)
    with running_sandbox(seed=number, latency=LATENCIES[kind], control_token=token) as sandbox:
        keys = {
            f"KNOUDS_SANDBOX_KEY_{persona.upper().replace('-', '_')}": secret
            for persona, secret in sandbox.keys.items()
        }
        command = LoadCommand(
            scenario=SCENARIO,
            runs_folder=options.pool / "runs",
            options=[
                *("--target", "sandbox", "--rate", str(options.rate), "--seed", str(number)),
                *("--duration", f"{options.seconds + WARM_UP_S:g}s", "--warm-up", str(WARM_UP_S)),
            ],
            line="python benchmarks/comparison/collect.py",
        )
        control = {"KNOUDS_SANDBOX_URL": sandbox.base_url, "KNOUDS_SANDBOX_CONTROL_TOKEN": token}
        launched = launch(command, {**os.environ, **control, **keys})
    return {"folder": launched.folder and launched.folder.name, "exit_code": launched.exit_code}


if __name__ == "__main__":
    main()
