"""Real load runs for ``judge.py``: of one sandbox, and of the same one made slower, in turn.

    python benchmarks/comparison/collect.py POOL [--rounds 30] [--rate 200] [--seconds 15]

Each run has a sandbox of its own, whose providers take lognormal times (median 200 ms, spread 0.3), and loads
it with ``one_model.py``. A slower server is one with a longer time scale: nothing is done to the figures. A
round has two runs of the plain server and one of each slower one, in random order, so that what the machine
does meanwhile meets all alike. Runs gather in the folder; it can be interrupted, and gone on with.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
from pathlib import Path

from knouds_harness.load.launching import launch
from knouds_harness.sandbox.providers import Latency
from knouds_harness.sandbox.serving import running_sandbox

SCENARIO = Path(__file__).with_name("one_model.py")
TIME_SCALE = 0.08
"""Of claude-sonnet's 2.5 s."""
SLOWER = {"plain": 1.0, "slower-10": 1.1, "slower-20": 1.2}
ROUND = ("plain", "plain", "slower-10", "slower-20")
WARM_UP_S = 2.0


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
    latency = Latency(fixed_s=None, time_scale=TIME_SCALE * SLOWER[kind])
    token = secrets.token_urlsafe(24)
    with running_sandbox(seed=number, latency=latency, control_token=token) as sandbox:
        keys = {
            f"KNOUDS_SANDBOX_KEY_{persona.upper().replace('-', '_')}": secret
            for persona, secret in sandbox.keys.items()
        }
        launched = launch(
            SCENARIO,
            runs_folder=options.pool / "runs",
            options=[
                *("--target", "sandbox", "--rate", str(options.rate), "--seed", str(number)),
                *("--duration", f"{options.seconds + WARM_UP_S:g}s", "--warm-up", str(WARM_UP_S)),
            ],
            variables={"KNOUDS_SANDBOX_URL": sandbox.base_url, "KNOUDS_SANDBOX_CONTROL_TOKEN": token, **keys},
            command="python benchmarks/comparison/collect.py",
        )
    return {"folder": launched.folder and launched.folder.name, "exit_code": launched.exit_code}


if __name__ == "__main__":
    main()
