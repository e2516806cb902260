"""Whether the load generator's figures are true: arrivals, percentiles, counts, and what another tool says.

Generator and reference server (``knouds_harness.load.selftest.reference_server``) are processes on one
machine, as in ``knouds-harness selftest``, whose measurements these are, only longer. The other tool is
h2load, which keeps a constant rate too, on a server that never stands still: h2load waits for its answers,
and would miss those of a stall.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from knouds_harness.commands.selftest import RATES
from knouds_harness.load.selftest.selftest import (
    MOST_LATE_P99_MS,
    MOST_OFF_RATE,
    PERCENTS_AND_MAX,
    TRUTH_RATES,
    Measured,
    ServerTimes,
    cost,
    judge_counts,
    judge_percentiles,
    judge_rate,
    measure,
    true_percentile,
    truth_server,
)
from knouds_harness.measures.histograms import Histogram

QUICK = ServerTimes(median_ms=2.0)
FREEZING = ServerTimes(median_ms=20.0, freeze_s=1.0, every_s=10.0)
STEADY = ServerTimes(median_ms=20.0)
AGREEMENT_RATE, AGREEMENT_S, CONNECTIONS = 500, 10.0, 50
COMPARED = (50.0, 90.0, 99.0)


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("h2load is not installed: apt-get install nghttp2-client")
    print(
        f"{platform.python_implementation()} {platform.python_version()}, gevent {version('gevent')}, "
        f"{options.rounds} rounds, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start"
    )
    measurements: dict[str, Callable[[], Measured]] = {
        f"rate {rate}": lambda rate=rate: measure(times=QUICK, seconds=options.seconds, rate=rate)  # type: ignore[misc]
        for rate in RATES
    }
    measurements |= {
        f"truth {rate}": lambda rate=rate: measure(  # type: ignore[misc]
            times=FREEZING, seconds=options.seconds, rate=rate, users=round(2.5 * rate)
        )
        for rate in TRUTH_RATES
    }
    measurements["closed"] = lambda: measure(times=ServerTimes(median_ms=0.0), seconds=5.0)
    found: dict[str, list[Measured]] = {name: [] for name in measurements}
    agreements: list[list[float]] = []
    for number in range(options.rounds):
        for name, run in measurements.items():
            found[name].append(run())
        agreements.append(agreement(is_ours_first=number % 2 == 0))
    for rate in RATES:
        print_rate(found[f"rate {rate}"])
    for rate in TRUTH_RATES:
        print_percentiles(found[f"truth {rate}"])
    opened = [each for name, runs in found.items() if name != "closed" for each in runs]
    row = judge_counts(opened)
    print(f"{row.measure}: {row.found} by the server ({'equal' if row.is_met else 'NOT EQUAL'})")
    print(f"{cost(middle(found['closed'], lambda each: each.cpu_us)).measure}, closed model: ", end="")
    print(f"{statistics.median(each.cpu_us for each in found['closed']):.1f} µs")
    for index, name in enumerate(("mean", *(f"p{percent:g}" for percent in COMPARED))):
        ratios = [ratio[index] for ratio in agreements]
        print(f"{name} against h2load at {AGREEMENT_RATE}/s: {spread(ratios, '.3f')} x")
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def print_rate(runs: Sequence[Measured]) -> None:
    """The rate that was achieved, and how late arrivals were: medians, and how many rounds met both."""
    rate = runs[0].rate or 0.0
    off = [each.achieved_per_s / rate - 1 for each in runs]
    met = sum(all(row.is_met for row in judge_rate(each)) for each in runs)
    print(
        f"{rate:,g} arrivals/s: off by {spread(off, '+.3%')} (bound {MOST_OFF_RATE:.1%}); "
        f"late p99 {spread([each.late_p99_ms for each in runs], '.2f')} ms (bound {MOST_LATE_P99_MS:g}); "
        f"met in {met} of {len(runs)}"
    )


def print_percentiles(runs: Sequence[Measured]) -> None:
    """How far each percentile is from the true one: medians, and how many rounds were within the bounds."""
    for index, percent in enumerate(PERCENTS_AND_MAX):
        pairs = [each.percentiles_ms()[percent] for each in runs]
        met = sum(judge_percentiles(each)[index].is_met for each in runs)
        print(
            f"{runs[0].rate:,g}/s p{percent:g}: {spread([mine for mine, _ in pairs], '.2f')} ms, "
            f"off by {spread([mine - true for mine, true in pairs], '+.2f')} ms; met in {met} of {len(runs)}"
        )


def agreement(*, is_ours_first: bool) -> list[float]:
    """Our mean and percentiles over h2load's, one after the other on servers that behave alike."""
    runs = [ours, h2load] if is_ours_first else [h2load, ours]
    durations = {run.__name__: run() for run in runs}
    return [mine / its for mine, its in zip(durations["ours"], durations["h2load"], strict=True)]


def ours() -> list[float]:
    """Mean and percentiles of the open model, in seconds."""
    measured = measure(times=STEADY, seconds=AGREEMENT_S, rate=AGREEMENT_RATE)
    histogram = Histogram(measured.observed.response_counts)
    return [histogram.mean_s, *histogram.percentiles_s(*COMPARED)]


def h2load() -> list[float]:
    """The same by h2load, from its log; its connections begin one by one, or they would fire together."""
    per_client = AGREEMENT_RATE / CONNECTIONS
    with truth_server(STEADY) as url, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "--rps", f"{per_client:g}"]
        command += ["-r", "1", "--rate-period", f"{1000 / AGREEMENT_RATE:g}ms"]
        command += ["-n", str(round(AGREEMENT_RATE * AGREEMENT_S)), "--log-file", str(log), f"{url}/n/1"]
        subprocess.run(command, capture_output=True, check=True)
        lines = [line.split() for line in log.read_text().splitlines()]
    took_s = sorted(int(line[2]) / 1e6 for line in lines if line[1] == "200")
    return [statistics.fmean(took_s), *(true_percentile(took_s, percent) for percent in COMPARED)]


def middle(runs: Sequence[Measured], key: Callable[[Measured], float]) -> Measured:
    """The run whose figure is the median."""
    return sorted(runs, key=key)[len(runs) // 2]


def spread(numbers: Sequence[float], form: str) -> str:
    """Median, and from where to where."""
    return f"{statistics.median(numbers):{form}} ({min(numbers):{form}} to {max(numbers):{form}})"


if __name__ == "__main__":
    main()
