"""How often stale reads are found in a history of requests at once, and how long that takes.

Clients write and read workflows of a store that answers each request from one moment of it; the fault has a
share of the reads answer what was there before the last write. ``python benchmarks/stale_reads.py`` judges so
many histories, each of its own seed, and as many without the fault, which have to be consistent.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time

from knouds_harness.judging.serial_order import Access, TimedRequest, judge_history, register

Request = tuple[str, Access]
GOAL_SHARE, GOAL_S = 0.99, 1.0
WRITE_SHARE = 0.3
MEAN_MS = 10.0


def main() -> None:
    """Print a line for each number of workflows; exit with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="histories of each kind")
    parser.add_argument("--requests", type=int, default=1000, help="of a history")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument(
        "--stale", type=float, default=0.01, help="share of the requests that are stale reads"
    )
    options = parser.parse_args()
    is_met = True
    for workflows in (1, 10, 100):
        found, alarms, undecided, took_s = 0, 0, 0, []
        for seed in range(options.runs):
            for stale in (options.stale, 0.0):
                history = history_of(random.Random(f"{seed} {workflows} {stale}"), workflows, stale, options)
                begun_s = time.perf_counter()
                is_consistent = judge_history(WORKFLOWS, history).is_consistent
                took_s.append(time.perf_counter() - begun_s)
                found += bool(stale) and is_consistent is False
                alarms += not stale and is_consistent is False
                undecided += is_consistent is None
        print(
            f"{workflows:3} workflows: found in {found} of {options.runs}, {alarms} false alarms, "
            f"{undecided} undecided; median {statistics.median(took_s) * 1e3:.0f} ms, "
            f"longest {max(took_s) * 1e3:.0f} ms"
        )
        is_met &= found >= GOAL_SHARE * options.runs and not alarms + undecided and max(took_s) <= GOAL_S
    sys.exit(not is_met)


def history_of(
    chance: random.Random, workflows: int, stale: float, options: argparse.Namespace
) -> list[TimedRequest[Request]]:
    """A history of a store, in which a share of the requests read what was there before the last write."""
    free_ms = [0.0] * options.clients
    drafts = []
    for number in range(options.requests):
        client = min(range(options.clients), key=free_ms.__getitem__)
        began_ms = free_ms[client] + chance.expovariate(1 / MEAN_MS)
        ended_ms = free_ms[client] = began_ms + chance.expovariate(1 / MEAN_MS)
        drafts.append((chance.uniform(began_ms, ended_ms), began_ms, ended_ms, number))
    values: dict[str, list[int]] = {}
    history = []
    for _, began_ms, ended_ms, number in sorted(drafts):
        slug = f"w{chance.randrange(workflows)}"
        written = values.setdefault(slug, [-1])
        draw = chance.random()
        if draw < WRITE_SHARE:
            written.append(number)
        is_stale = draw > 1 - stale and len(written) > 1
        access = Access(is_write=draw < WRITE_SHARE, value=written[-2 if is_stale else -1])
        history.append(TimedRequest(began_s=began_ms / 1e3, ended_s=ended_ms / 1e3, what=(slug, access)))
    return history


def alone(request: Request) -> list[Request]:
    """A request is about one workflow."""
    return [request]


WORKFLOWS = register(initial=lambda _: (-1,), partition=alone, describe=lambda request, _: str(request))

if __name__ == "__main__":
    main()
