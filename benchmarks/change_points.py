"""How often the history marks a change where there is none, and misses one that is there: a simulation.

``python benchmarks/change_points.py`` takes a minute of one core; the seed is fixed.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable

from knouds_harness.reporting.history.changes import change_points
from knouds_harness.reporting.history.entry import MEASURES

P99 = MEASURES["p99_ms"]
NOISE: dict[str, Callable[[random.Random], float]] = {
    "normal, 5 %": lambda chance: chance.lognormvariate(0, 0.05),
    "normal, 1 %": lambda chance: chance.lognormvariate(0, 0.01),
    "one run in ten 30 % slower": lambda chance: (
        chance.lognormvariate(0, 0.05) * (1.3 if chance.random() < 0.1 else 1.0)
    ),
}


def share_with_changes(noise: Callable[[random.Random], float], *, runs: int, tries: int) -> float:
    """How many series of runs of one level have a change."""
    chance = random.Random(runs)
    found = (change_points([100 * noise(chance) for _ in range(runs)], P99) for _ in range(tries))
    return sum(1 for changes in found if changes) / tries


def share_found(*, step: float, runs: int, after: int, tries: int) -> float:
    """How many changes, with so many runs after them, are found at most one run off."""
    chance = random.Random(runs)
    noise = NOISE["normal, 5 %"]
    found = 0
    for _ in range(tries):
        levels = [100.0] * (runs - after) + [100.0 * step] * after
        changes = change_points([level * noise(chance) for level in levels], P99)
        found += any(abs(change.at - (runs - after)) <= 1 for change in changes)
    return found / tries


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    tries = parser.parse_args().tries
    print(f"marked where nothing changed, of {tries} series")
    for name, noise in NOISE.items():
        shares = [
            f"{runs} runs {share_with_changes(noise, runs=runs, tries=tries):.1%}" for runs in (8, 20, 60)
        ]
        print(f"  {name:<28} {', '.join(shares)}")
    print(f"found, of {tries} changes in the last of 20 runs, at 5 % noise")
    for step in (1.1, 1.2, 1.4):
        shares = [
            f"after {after} runs {share_found(step=step, runs=20, after=after, tries=tries):.0%}"
            for after in (3, 5, 10)
        ]
        print(f"  {step - 1:.0%} slower{'':<18} {', '.join(shares)}")


if __name__ == "__main__":
    main()
