"""How many of the sandbox's faults each tool notices: ours, and those of the trade.

    python benchmarks/detection/run.py [--sample N] [--tool NAME]... [--jobs N] [--minutes N] [--results FILE]

Every tool runs against a fresh sandbox for each fault, with the same seed. First it runs three times against
the healthy sandbox: what it reports there are its false alarms. A fault counts as noticed where the tool
reports anything else, whatever it is. ``--sample N`` takes every Nth fault of each family, chosen by a fixed
seed; 1 takes all.

Results are appended to a file, so that an interrupted run goes on where it stopped. The table counts the
faults that every tool of the file has been run on. Java 17 and npm have to be there; what comes from PyPI and
npm is put into the user's cache. What cannot be had is said, and left out.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import dredd
import ours
import portman
import schemathesis_alone
import specmatic
from counted import Counted, counted_sandbox
from peers import PeerFailed
from prepared import SEEDING_REQUESTS, SEEDING_RUNS

from knouds_sandbox.faults import FAULTS

SEED = 1
HEALTHY = ("healthy-1", "healthy-2", "healthy-3")
FAMILIES = tuple(dict.fromkeys(fault.family for fault in FAULTS))
RESULTS = Path("reports/runs/detection.jsonl")
MORE_KEYS = "schemathesis, more keys"
PLAIN = "schemathesis, full key"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one tool said of one sandbox.

    Attributes:
        fault: Its id, or one of ``HEALTHY``.
        problems: What it reported, without what changes from run to run.
        trouble: Why it said nothing; empty where it came to its end.
    """

    tool: str
    version: str
    fault: str
    problems: Sequence[str] = ()
    requests: int = 0
    runs: int = 0
    wall_s: float = 0.0
    trouble: str = ""


Measure = Callable[[str | None, Path], tuple[set[str], int, int]]


def _measured(peer: Callable[[Counted, Path], set[str]]) -> Measure:
    def measure(fault: str | None, folder: Path) -> tuple[set[str], int, int]:
        with counted_sandbox(seed=SEED, fault=fault) as sandbox:
            problems = peer(sandbox, folder)
        return problems, sandbox.requests - SEEDING_REQUESTS, sandbox.runs - SEEDING_RUNS

    return measure


TOOLS: Mapping[str, tuple[Callable[[], str], Measure]] = {
    "knouds-harness check --quick": (ours.install, lambda fault, folder: ours.run(fault, SEED, folder)),
    PLAIN: (schemathesis_alone.install, _measured(schemathesis_alone.run)),
    MORE_KEYS: (schemathesis_alone.install, _measured(schemathesis_alone.run_with_identities)),
    "Specmatic": (specmatic.install, _measured(specmatic.run)),
    "Dredd": (dredd.install, _measured(dredd.run)),
    "Portman": (portman.install, _measured(portman.run)),
}


def family_by_fault() -> dict[str, str]:
    """Every fault."""
    return {fault.id: fault.family for fault in FAULTS}


def sample(every: int) -> list[str]:
    """Every Nth fault of each family, in an order of which each beginning is a fair sample too."""
    chosen: list[tuple[float, str]] = []
    families = family_by_fault()
    for family in FAMILIES:
        faults = sorted(fault for fault, its_family in families.items() if its_family == family)
        random.Random(f"{SEED} {family}").shuffle(faults)
        kept = faults[: max(1, round(len(faults) / every))]
        chosen += [((place + 0.5) / len(kept), fault) for place, fault in enumerate(kept)]
    return [fault for _, fault in sorted(chosen)]


def measure(tool: str, version: str, fault: str) -> Result:
    """Run one tool against one fresh sandbox."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="detection-") as folder:
        try:
            problems, requests, runs = TOOLS[tool][1](None if fault in HEALTHY else fault, Path(folder))
        except PeerFailed as problem:
            return Result(tool=tool, version=version, fault=fault, trouble=str(problem))
    return Result(
        tool=tool,
        version=version,
        fault=fault,
        problems=sorted(problems),
        requests=requests,
        runs=runs,
        wall_s=time.perf_counter() - start,
    )


def measure_all(tools: Iterable[str], *, every: int, jobs: int, minutes: float, path: Path) -> None:
    """Run what the file does not hold yet, fault by fault, until all is there or the time is over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(result.tool, result.fault) for result in read_results(path) if not result.trouble}
    versions = _installed(tools)
    todo = [
        (tool, version, fault)
        for fault in (*HEALTHY, *sample(every))
        for tool, version in versions.items()
        if (tool, fault) not in done and not (tool == PLAIN and fault != HEALTHY[0])
    ]
    deadline = time.monotonic() + minutes * 60

    def measure_in_time(work: tuple[str, str, str]) -> Result | None:
        return measure(*work) if time.monotonic() < deadline else None

    with path.open("a", encoding="utf-8") as file, ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(measure_in_time, work) for work in todo]):
                result = future.result()
                if result is not None:
                    file.write(json.dumps(asdict(result)) + "\n")
                    file.flush()
                    said = result.trouble or f"{len(result.problems)} problems"
                    print(f"{result.wall_s:6.1f} s  {result.tool:<28} {result.fault:<44} {said}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all that is planned


def _installed(tools: Iterable[str]) -> dict[str, str]:
    versions = {}
    for tool in tools:
        try:
            versions[tool] = TOOLS[tool][0]()
        except (OSError, subprocess.SubprocessError) as problem:
            print(f"{tool} cannot be had: {problem}")
    if "Specmatic" in versions and shutil.which("java") is None:
        print("Specmatic cannot be had: no java (apt-get install openjdk-17-jre-headless)")
        del versions["Specmatic"]
    return versions


def read_results(path: Path) -> list[Result]:
    """What was measured; schemathesis with a full key alone is a part of what it was run with more keys."""
    if not path.exists():
        return []
    results = [Result(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    plain = [
        Result(
            tool=PLAIN,
            version=result.version,
            fault=result.fault,
            problems=[each for each in result.problems if not each.startswith(("low: ", "users: "))],
            trouble=result.trouble,
        )
        for result in results
        if result.tool == MORE_KEYS and result.fault != HEALTHY[0]
    ]
    return results + plain


def print_table(results: Sequence[Result]) -> None:
    """Print what each tool noticed, by family, and what it took."""
    by_tool = {tool: {each.fault: each for each in results if each.tool == tool} for tool in TOOLS}
    by_tool = {tool: found for tool, found in by_tool.items() if found}
    families = family_by_fault()
    counted = [
        fault
        for fault in families
        if all(fault in found and not found[fault].trouble for found in by_tool.values())
    ]
    total = Counter(families[fault] for fault in counted)
    print(f"\n{len(counted)} faults of {len(families)}, by family: {dict(total)}\n")
    print("| tool | version | noticed | false alarms | requests | accepted runs | time |")
    print("|---|---|---|---|---|---|---|")
    noticed = {tool: _noticed(found, counted) for tool, found in by_tool.items()}
    for tool, found in by_tool.items():
        healthy = [found[name] for name in HEALTHY if name in found and not found[name].trouble]
        alarms = {problem for each in healthy for problem in each.problems}
        measured = [each for each in healthy if each.wall_s] or healthy  # the others are derived
        typical = [
            statistics.median(getattr(each, name) for each in measured)
            for name in ("requests", "runs", "wall_s")
        ]
        print(
            f"| {tool} | {healthy[0].version} | **{len(noticed[tool])}** of {len(counted)} | {len(alarms)} "
            f"| {typical[0]:,.0f} | {typical[1]:,.0f} | {typical[2]:.0f} s |"
        )
    print(f"\n| family | faults | {' | '.join(by_tool)} |")
    print("|---|---|" + "---|" * len(by_tool))
    for family in FAMILIES:
        of_family = [str(sum(families[fault] == family for fault in noticed[tool])) for tool in by_tool]
        print(f"| {family} | {total[family]} | {' | '.join(of_family)} |")
    for result in results:
        if result.trouble:
            print(f"trouble: {result.tool}, {result.fault}: {result.trouble}")


def _noticed(found: Mapping[str, Result], faults: Iterable[str]) -> list[str]:
    alarms = {problem for name in HEALTHY if name in found for problem in found[name].problems}
    return [fault for fault in faults if set(found[fault].problems) - alarms]


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=4, metavar="N", help="every Nth fault of each family")
    parser.add_argument("--tool", action="append", choices=TOOLS, help="only this one (repeatable)")
    parser.add_argument("--jobs", type=int, default=2, help="how many tools run at once")
    parser.add_argument("--minutes", type=float, default=600, help="start nothing new after so long")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args()
    measure_all(
        options.tool or TOOLS,
        every=options.sample,
        jobs=options.jobs,
        minutes=options.minutes,
        path=options.results,
    )
    print_table(read_results(options.results))


if __name__ == "__main__":
    main()
