"""Whether the load generator's figures are true: arrivals, percentiles, counts, and what another tool says.

Generator and reference server (``knouds_harness.load.selftest.reference_server``) are processes on one
machine, as in ``knouds-harness selftest``, whose measurements these are, only longer. The other tool is
h2load, which keeps a constant rate too, on a server that never stands still: h2load waits for its answers,
and would miss those of a stall.

``--busy N`` asks another question: while N other processes keep the machine busy, which runs are called
valid, and are their figures true? The server has priority, as one on another machine would have.
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
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from knouds_harness.commands.selftest import RATES
from knouds_harness.load.generator.validity import judge_generator
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
    measure_at,
    true_percentile,
    truth_server,
)
from knouds_harness.measures.delay import LEAST_MS, Delay, KeptTimes
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.load_results import Validity
from knouds_harness.runs.operation_load import NO_TIMES, TIME_MEASURES

QUICK = ServerTimes(median_ms=2.0)
FREEZING = ServerTimes(median_ms=20.0, freeze_s=1.0, every_s=10.0)
STEADY = ServerTimes(median_ms=20.0)
BUSY_SETTINGS = ((5.0, 200), (20.0, 200), (100.0, 100), (1500.0, 20))
"""Median of the server, and tasks per second."""
RARE = ("p99.9_ms", "max_ms")
FORMER_MOST_LATE_MS = 5.0
AGREEMENT_RATE, AGREEMENT_S, CONNECTIONS = 500, 10.0, 50
COMPARED = (50.0, 90.0, 99.0)


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--busy", type=int, metavar="N", help="judge runs beside N busy processes")
    options = parser.parse_args()
    if options.busy is not None:
        judge_busy_runs(options.busy, rounds=options.rounds, seconds=options.seconds)
        return
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


@dataclass(frozen=True, kw_only=True)
class BusyRun:
    """What was said of a run, and what was true.

    Attributes:
        reasons: What was said against it.
        errors: By measure, how far a figure was off, as a share of it; less than the least that counts is 0.
        trusted: Measures of which nothing was said.
        late_p99_ms: How late one task in a hundred was sent.
    """

    reasons: Sequence[str]
    errors: Mapping[str, float]
    trusted: Sequence[str]
    late_p99_ms: float

    @property
    def is_correct(self) -> bool:
        """Whether the figures that make a run valid were true."""
        return all(
            error <= Validity.accuracy for measure, error in self.errors.items() if measure not in RARE
        )


def judge_busy_runs(busy: int, *, rounds: int, seconds: float) -> None:
    """Measure servers of known latency beside busy processes, and print what was said of it."""
    with ExitStack() as stack:
        for _ in range(busy):
            spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(spinner.wait)
            stack.callback(spinner.kill)
        print(f"{busy} busy processes, {rounds} rounds of {seconds:g} s")
        found: dict[tuple[float, int], list[BusyRun]] = {setting: [] for setting in BUSY_SETTINGS}
        for _ in range(rounds):
            for (median_ms, rate), runs in found.items():
                runs.append(
                    busy_run(ServerTimes(median_ms=median_ms, spread=0.3), rate=rate, seconds=seconds)
                )
        print(f"load average {os.getloadavg()[0]:.1f} at the end")
    for (median_ms, rate), runs in found.items():
        print_busy(f"{median_ms:g} ms, {rate}/s", runs)
    print_busy("all", [run for runs in found.values() for run in runs])


def busy_run(times: ServerTimes, *, rate: float, seconds: float) -> BusyRun:
    """Measure one server, and judge the generator as a run does."""
    with truth_server(times) as url:
        for child in psutil.Process().children():
            if any("reference_server" in part for part in child.cmdline()):
                child.nice(-15 if os.geteuid() == 0 else child.nice())
        measured = measure_at(url, seconds=seconds, rate=rate)
    observed = measured.observed
    response = Histogram(observed.response_counts)
    lags = {missed: Histogram(counts) for missed, counts in observed.lag_counts.items()}
    seen = Validity(
        is_valid=True,
        reasons=(),
        asked_per_s=rate,
        achieved_per_s=measured.achieved_per_s,
        arrivals=observed.handed + observed.dropped,
        dropped=observed.dropped,
        lateness=NO_TIMES,
        loop_lag=NO_TIMES,
        cpu_share=0.0,
    )
    kept = KeptTimes(operation="n", response=response, service=Histogram(observed.service_counts))
    validity = judge_generator(seen, kept=[kept], delay=Delay(lags))
    delayed = {each.measure for each in validity.delayed}
    mean_s: Sequence[float] = [statistics.fmean(measured.served_s)]
    found = {"mean_ms": (response.mean_s, mean_s)}
    for percent, name in zip(PERCENTS_AND_MAX, TIME_MEASURES[1:], strict=True):
        found[name] = response.percentile_s(percent), neighbours(measured.served_s, percent)
    return BusyRun(
        reasons=validity.reasons,
        errors={name: off(mine, true) for name, (mine, true) in found.items()},
        trusted=[name for name in found if validity.is_valid and name not in delayed],
        late_p99_ms=measured.late_p99_ms,
    )


def neighbours(ordered: Sequence[float], percent: float) -> Sequence[float]:
    """A percentile, and the values next to it: of few requests, these can be more than 1 % apart."""
    rank = bisect_left(ordered, true_percentile(ordered, percent))
    return ordered[max(0, rank - 1) : rank + 2]


def off(mine_s: float, true_s: Sequence[float]) -> float:
    """By which share a figure is off."""
    off_s = min(abs(mine_s - each) for each in true_s)
    return off_s / mine_s if off_s * 1e3 > LEAST_MS else 0.0


def print_busy(title: str, runs: Sequence[BusyRun]) -> None:
    """How many runs were correct, how many of these were refused, and how true what was trusted is."""
    correct = [run for run in runs if run.is_correct]
    refused = sum(bool(run.reasons) for run in correct)
    fixed = sum(run.late_p99_ms > FORMER_MOST_LATE_MS for run in correct)
    errors = sorted(run.errors[measure] for run in runs for measure in run.trusted)
    beyond = sum(error > Validity.accuracy for error in errors)
    print(
        f"{title}: {len(correct)} of {len(runs)} runs correct, {refused} of these refused "
        f"(by a fixed {FORMER_MOST_LATE_MS:g} ms: {fixed}); of {len(errors)} figures called valid {beyond} "
        f"are off by more than {Validity.accuracy:.0%}, the worst by {max(errors, default=0):.1%}"
    )


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
