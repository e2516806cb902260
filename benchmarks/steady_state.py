"""How often made-up runs are called unsteady, and since when they are called steady, by three methods.

Each kind of run has a known answer; see ``docs/decisions/steady-state.md``.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Sequence

from knouds_harness.measures.steadiness import MOST_LEFT_OUT, steady_from

Series = Callable[[random.Random, int], float]

KINDS: dict[str, tuple[str, Series]] = {
    "noise": ("0", lambda chance, _: chance.gauss(100, 10)),
    "skewed noise": ("0", lambda chance, _: chance.lognormvariate(0, 0.6)),
    "a stall in every ten": ("0", lambda chance, at: chance.gauss(75, 3) + 400 * (at % 10 == 9)),
    "slower for 12 s": ("12", lambda chance, at: chance.gauss(100, 5) + 60 * (at < 12)),
    "settles, 4 s": ("about 15", lambda chance, at: chance.gauss(100, 5) + 200 * math.exp(-at / 4)),
    "drift": ("never", lambda chance, at: chance.gauss(100, 5) + 2 * at),
}


def mser(values: Sequence[float], batch: int = 1) -> int | None:
    """As published, on the values themselves, or on means of batches."""
    means = [
        statistics.fmean(values[first : first + batch]) for first in range(0, len(values) - batch + 1, batch)
    ]
    total = len(means)
    errors = [statistics.pvariance(means[first:]) / (total - first) for first in range(total // 2 + 1)]
    left_out = errors.index(min(errors))
    return None if left_out > MOST_LEFT_OUT * total else left_out * batch


METHODS: dict[str, Callable[[Sequence[float]], int | None]] = {
    "MSER": mser,
    "MSER-5": lambda values: mser(values, 5),
    "by ranks": steady_from,
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    chance = random.Random(1)
    for seconds in (20, 60):
        for name, (truth, series) in KINDS.items():
            if truth not in {"0", "never"} and seconds == 20:
                continue  # too short for it
            runs = [[series(chance, at) for at in range(seconds)] for _ in range(options.runs)]
            cells = []
            for method, find in METHODS.items():
                found = [find(run) for run in runs]
                begun = [each for each in found if each is not None]
                middle = f"{statistics.median(begun):g} s" if begun else "none"
                cells.append(f"{method}: {found.count(None) / len(found):.1%} unsteady, from {middle}")
            print(f"{seconds} s, {name} (truly {truth}): {'; '.join(cells)}")


if __name__ == "__main__":
    main()
