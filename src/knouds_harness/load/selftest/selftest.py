"""Checks whether this machine can generate load accurately, with a server that knows the true times.

Generator and server are processes of their own on this machine. Request ``n`` of an even schedule is due
``n / rate`` seconds after its start; the server logs when it sent each response, on the clock that the
generator reads too. So the true response time of each request is known independently of the generator.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final

from pydantic import TypeAdapter

from knouds_harness.errors import TargetUnreachable
from knouds_harness.measures.histograms import Histogram
from knouds_harness.runs.operation_load import PERCENTS

PERCENTS_AND_MAX: Final = (*map(float, PERCENTS), 100.0)
TRUTH_RATES: Final = (500, 2000)
MOST_OFF_RATE: Final = 0.001
"""Share of the rate that was asked for."""
MOST_LATE_P99_MS: Final = 1.0
MOST_OFF_SHARE: Final = 0.01
MOST_OFF_MS: Final = 0.5
_CLOSED_USERS: Final = 20
_OPEN_USERS: Final = 1000
_STOP_WITHIN_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the generator measured; ``…_counts`` are histograms by bucket, lags by ``lag_class`` first.

    Attributes:
        start_s: When the schedule began, in seconds of ``time.perf_counter``; request ``n`` was due
            ``n / rate`` seconds after it.
    """

    start_s: float
    duration_s: float
    handed: int
    dropped: int
    response_counts: dict[int, int]
    service_counts: dict[int, int]
    failed: int
    lateness_counts: dict[int, int]
    lag_counts: dict[int, dict[int, int]]
    timer: str
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class ServerTimes:
    """How the truth server behaves: lognormal times, and how long and often it stands still."""

    median_ms: float
    spread: float = 0.6
    freeze_s: float = 0.0
    every_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the generator against the truth server.

    Attributes:
        rate: Arrivals per second that were asked for; None in the closed model.
        truth_s: True response times of the open model, in order; empty in the closed one.
        served_s: How long the server took for each request, in order.
        seen: How many requests the server answered.
    """

    rate: float | None
    observed: Observed
    truth_s: Sequence[float]
    served_s: Sequence[float]
    seen: int

    @property
    def counted(self) -> int:
        return sum(self.observed.response_counts.values()) + self.observed.failed

    @property
    def achieved_per_s(self) -> float:
        sent = self.counted if self.rate is None else self.observed.handed
        return sent / self.observed.duration_s

    @property
    def late_p99_ms(self) -> float:
        return Histogram(self.observed.lateness_counts).percentiles_s(99)[0] * 1e3

    @property
    def cpu_us(self) -> float:
        return self.observed.cpu_s / self.counted * 1e6 if self.counted else 0.0

    def percentiles_ms(self) -> Mapping[float, tuple[float, float]]:
        """Return measured and true values by percentile."""
        if not self.truth_s:
            return {}
        measured = Histogram(self.observed.response_counts).percentiles_s(*PERCENTS_AND_MAX)
        return {
            percent: (each * 1e3, true_percentile(self.truth_s, percent) * 1e3)
            for percent, each in zip(PERCENTS_AND_MAX, measured, strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class SelftestRow:
    """A line of the table: the measure, the value found, and its bound, if any."""

    measure: str
    found: str
    bound: str = ""
    is_met: bool = True


@dataclass(frozen=True, kw_only=True)
class SelftestVerdict:
    """What the machine can measure accurately."""

    highest_rate: float | None
    is_exact: bool
    is_counted: bool
    is_complete: bool
    timer: str

    @property
    def is_met(self) -> bool:
        return self.is_complete and self.is_exact and self.is_counted


def true_percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that this share of all values does not exceed, as ``Histogram`` does."""
    return ordered[max(ceil(len(ordered) * percent / 100 - 1e-9), 1) - 1]


def judge_rate(measured: Measured) -> list[SelftestRow]:
    rate = measured.rate or 0.0
    off = measured.achieved_per_s / rate - 1
    title = f"{rate:,g} arrivals per second"
    return [
        SelftestRow(
            measure=f"{title}: rate",
            found=f"{measured.achieved_per_s:,.1f}/s ({off:+.2%})",
            bound=f"within {MOST_OFF_RATE:.1%}",
            is_met=abs(off) <= MOST_OFF_RATE,
        ),
        SelftestRow(
            measure=f"{title}: late, p99",
            found=f"{measured.late_p99_ms:.2f} ms",
            bound=f"at most {MOST_LATE_P99_MS:g} ms",
            is_met=measured.late_p99_ms <= MOST_LATE_P99_MS,
        ),
    ]


def judge_percentiles(measured: Measured) -> list[SelftestRow]:
    return [
        SelftestRow(
            measure=f"{measured.rate:,g}/s: {'max' if percent == 100 else f'p{percent:g}'}",
            found=f"{mine:,.2f} ms, truly {true:,.2f} ms ({mine - true:+.2f} ms)",
            bound=f"within {MOST_OFF_SHARE:.0%} or {MOST_OFF_MS:g} ms",
            is_met=abs(mine - true) <= max(MOST_OFF_MS, MOST_OFF_SHARE * true),
        )
        for percent, (mine, true) in measured.percentiles_ms().items()
    ]


def judge_counts(runs: Sequence[Measured]) -> SelftestRow:
    counted, seen = sum(each.counted for each in runs), sum(each.seen for each in runs)
    return SelftestRow(
        measure="requests counted",
        found=f"{counted:,} of {seen:,} seen",
        bound="equal",
        is_met=counted == seen,
    )


def cost(measured: Measured) -> SelftestRow:
    return SelftestRow(
        measure="processor time of a request",
        found=f"{measured.cpu_us:.0f} µs, so {1e6 / measured.cpu_us:,.0f}/s at most from one process"
        if measured.cpu_us
        else "nothing was answered",
        is_met=measured.cpu_us > 0,
    )


def selftest(
    seconds: float, *, rates: Sequence[float], on_rows: Callable[[Sequence[SelftestRow]], object]
) -> SelftestVerdict:
    """Measure all rows of the table: some six measurements, each of so many seconds."""
    kept_up: list[float] = []
    is_exact = True
    runs: list[Measured] = []

    def tell(rows: Sequence[SelftestRow]) -> bool:
        on_rows(rows)
        return all(row.is_met for row in rows)

    for rate in rates:
        runs.append(measure(times=ServerTimes(median_ms=2.0), seconds=seconds, rate=rate))
        if tell(judge_rate(runs[-1])):
            kept_up.append(rate)
    freezing = ServerTimes(median_ms=20.0, freeze_s=seconds / 10, every_s=seconds / 2)
    for rate in rates[: len(TRUTH_RATES)]:
        users = round(rate * (2 * freezing.freeze_s + 0.5))
        runs.append(measure(times=freezing, seconds=seconds, rate=rate, users=users))
        is_exact &= tell(judge_percentiles(runs[-1]))
    is_counted = tell([judge_counts(runs)])
    closed = measure(times=ServerTimes(median_ms=0.0), seconds=seconds / 2)
    tell([cost(closed)])
    return SelftestVerdict(
        highest_rate=max(kept_up, default=None),
        is_exact=is_exact,
        is_counted=is_counted,
        is_complete=len(kept_up) == len(rates),
        timer=runs[0].observed.timer,
    )


def measure(
    *, times: ServerTimes, seconds: float, rate: float | None = None, users: int | None = None
) -> Measured:
    with truth_server(times) as url:
        return measure_at(url, seconds=seconds, rate=rate, users=users)


def measure_at(url: str, *, seconds: float, rate: float | None, users: int | None = None) -> Measured:
    model = (
        ["--closed", str(users or _CLOSED_USERS)]
        if rate is None
        else ["--rate", f"{rate:g}", "--users", str(users or _OPEN_USERS)]
    )
    command = [sys.executable, "-m", "knouds_harness.load.selftest.generator_probe", url, *model]
    command += ["--seconds", f"{seconds:g}"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise TargetUnreachable(f"the load generator failed: {last_line}")
    observed = TypeAdapter(Observed).validate_json(process.stdout)
    with urllib.request.urlopen(f"{url}/log") as response:  # noqa: S310 - our own server's http
        log: list[tuple[str, float, float]] = json.load(response)
    truth_s: list[float] = []
    if rate is not None:
        truth_s = sorted(sent_s - observed.start_s - int(number) / rate for number, _, sent_s in log)
    return Measured(
        rate=rate,
        observed=observed,
        truth_s=truth_s,
        served_s=sorted(sent_s - received_s for _, received_s, sent_s in log),
        seen=len(log),
    )


@contextmanager
def truth_server(times: ServerTimes) -> Iterator[str]:
    """Run a truth server within the context; yields its address."""
    command = [sys.executable, "-m", "knouds_harness.load.selftest.reference_server"]
    command += ["--median-ms", f"{times.median_ms:g}", "--spread", f"{times.spread:g}"]
    command += ["--freeze-s", f"{times.freeze_s:g}", "--every-s", f"{times.every_s:g}"]
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
            url = process.stdout.readline().strip()
            if not url:
                raise TargetUnreachable("the truth server did not start")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
