"""How often ``knouds-harness compare`` is wrong, and how often it sees what is there.

    python benchmarks/comparison/judge.py POOL [--pairs 200]

Takes the runs that ``collect.py`` gathered. A pair is a baseline and a candidate of some runs each, drawn
from runs that followed one another, as ``compare --repeat`` would have had them. Between two sides of the
plain server any gate that is called worse is a false alarm; against a slower server p99 has to be worse. Runs
whose own generator was the limit are left out, as ``compare`` does.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev

from knouds_harness.reporting.comparison.change import ChangeVerdict
from knouds_harness.reporting.comparison.load_comparison import (
    LoadComparison,
    MeasureRow,
    Tolerances,
    compare_loads,
)
from knouds_harness.reporting.comparison.load_figures import LoadFigures
from knouds_harness.reporting.comparison.sides import read_side

OPERATION = "runModel"
SIZES = (1, 3, 5)
SLOWER = ("slower-10", "slower-20", "slower-tail")
Pool = Sequence[tuple[str, LoadFigures]]


def main() -> None:
    """Judge the pool and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pool, left_out = read_pool(options.pool)
    plan = pool[0][1].plan
    measured_s = plan.duration_s - plan.warm_up_s
    print(f"{len(pool)} runs of {measured_s:g} s at {plan.stages[0].end:g}/s, {left_out} left out")
    print_noise(pool)
    chance = random.Random(options.seed)
    for size in SIZES:
        same = [compare(*draw_same(pool, size, chance)) for _ in range(options.pairs)]
        alarms = sum(bool(each.regressions) for each in same)
        praises = sum(each.verdict is ChangeVerdict.BETTER for each in same)
        visible = sorted(change.visible for each in same if (change := p99_of(each).change))
        print(f"{size} against {size} plain: worse in {alarms}, better in {praises} of {len(same)} pairs,")
        print(f"  said to show a p99 that is worse by {visible[len(visible) // 2]:.1%} (median)")
        for kind in SLOWER:
            drawn = [compare(*draw_slower(pool, kind, size, chance)) for _ in range(options.pairs)]
            seen = sum(p99_of(each).verdict is ChangeVerdict.WORSE for each in drawn)
            failed = sum(bool(each.regressions) for each in drawn)
            print(f"  {kind}: p99 worse in {seen / len(drawn):.1%}, any gate in {failed / len(drawn):.1%}")


def read_pool(folder: Path) -> tuple[Pool, int]:
    """The valid runs in the order of time, and how many were not."""
    entries: list[Mapping[str, str]] = [
        json.loads(line) for line in (folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    every = [
        (entry["kind"], read_side([folder / "runs" / entry["folder"]], baselines=folder).loads[0])
        for entry in entries
    ]
    valid = [each for each in every if not each[1].doubts]
    return valid, len(every) - len(valid)


def print_noise(pool: Pool) -> None:
    """How far runs of one server are from each other, and what they say of that themselves."""
    for kind in ("plain", *SLOWER):
        for measure in ("p50_ms", "p99_ms"):
            found = [run.figures[OPERATION][measure] for name, run in pool if name == kind]
            middle = math.exp(sum(math.log(each.value) for each in found) / len(found))
            spread = stdev(math.log(each.value) for each in found)
            error = sum(each.error for each in found) / len(found)
            print(f"  {kind} {measure}: {middle:.0f} ms, runs differ by {spread:.1%}, blocks say {error:.1%}")


def draw_same(pool: Pool, size: int, chance: random.Random) -> tuple[list[LoadFigures], list[LoadFigures]]:
    """Two sides of plain runs that followed one another, dealt at random."""
    plain = [run for kind, run in pool if kind == "plain"]
    start = chance.randrange(len(plain) - 2 * size + 1)
    dealt = chance.sample(plain[start : start + 2 * size], 2 * size)
    return dealt[:size], dealt[size:]


def draw_slower(
    pool: Pool, kind: str, size: int, chance: random.Random
) -> tuple[list[LoadFigures], list[LoadFigures]]:
    """Slower runs that followed one another, against plain ones of the same time."""
    places = [index for index, (name, _) in enumerate(pool) if name == kind]
    start = chance.randrange(len(places) - size + 1)
    chosen = places[start : start + size]
    middle = sum(chosen) / size
    plain = sorted(
        (index for index, (name, _) in enumerate(pool) if name == "plain"),
        key=lambda index: abs(index - middle),
    )[: 2 * size]
    return [pool[index][1] for index in chance.sample(plain, size)], [pool[index][1] for index in chosen]


def compare(baseline: Sequence[LoadFigures], candidate: Sequence[LoadFigures]) -> LoadComparison:
    """As the command does, with its default tolerances."""
    return compare_loads(baseline, candidate, tolerances=Tolerances(given={}), objectives=None)


def p99_of(comparison: LoadComparison) -> MeasureRow:
    """The row that a slower server has to show in."""
    return next(row for row in comparison.rows if row.measure == "p99_ms")


if __name__ == "__main__":
    main()
