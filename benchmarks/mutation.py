"""Which of the sandbox's faults a check catches, and whether it ever cries wolf.

    python benchmarks/mutation.py [--fault ID]... [--sample N] [--jobs N] [--seeds N] [--output FILE]

Runs ``knouds-harness check --quick --fail-fast`` as a user in a hurry does, once for each fault. A fault is
caught where a breach or conflict cites the very fact that it breaks; what else shows does not count, so where
something else shows first, the whole quick check follows, and the full one for what that misses. The table
names the checks that caught it in the run that did.
Then the healthy sandbox is checked with ``--quick`` over many seeds, and five legal servers in full: any
breach or conflict there is a false alarm. Half of a check is waiting, so that twice as many run at a time as
there are cores.

Prints progress, then the table, then the score, and writes all of it as JSON. Exits with 1 where a fault
was missed, a healthy sandbox accused, or a check did not come to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from knouds_harness.errors import ExitCode, HarnessError
from knouds_harness.runs.findings import Verdict
from knouds_harness.runs.record import read_run
from knouds_sandbox.fault_points import Fault
from knouds_sandbox.faults import FAULTS, check_faults

SEED = 1
FAILING = {Verdict.BREACH, Verdict.CONFLICT, Verdict.CONTRADICTION}
LONGEST_CHECK_S = 600
TOO_LONG = "took too long"

Work = TypeVar("Work")
Outcome = TypeVar("Outcome")
_LEGAL_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What one check of a sandbox came to.

    Attributes:
        wall_s: How long it took, reports included.
        checks_by_fact: For each fact in breach or conflict, the checks that found it so.
        trouble: Why the check did not come to a verdict; empty where it did.
    """

    wall_s: float
    checks_by_fact: Mapping[str, Sequence[str]]
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How one fault fared.

    Attributes:
        caught_by: The checks whose findings cite its fact.
        caught_in: ``quick`` or ``full``, empty where both missed it.
        wall_s: What the checks of it took.
        also_broken: Other facts that were found broken in the run that caught it.
        trouble: Why a check of it did not come to a verdict.
    """

    fault: str
    fact: str
    is_subtle: bool
    caught_by: Sequence[str]
    caught_in: str
    wall_s: float
    also_broken: Sequence[str]
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """Everything that was measured, as it is written down.

    Attributes:
        jobs: How many checks ran at a time.
        wall_s: All checks together; ``faults_wall_s`` those of faults.
        cpu_s: Processor time of all checks and their sandboxes.
        sound: What the checks of sound sandboxes came to, by name.
    """

    version: str
    jobs: int
    cores: int
    wall_s: float
    faults_wall_s: float
    cpu_s: float
    faults: Sequence[Judged]
    sound: Mapping[str, Checked]

    @property
    def missed(self) -> list[str]:
        """The faults that no check caught."""
        return [each.fault for each in self.faults if not each.caught_by]

    @property
    def accused(self) -> dict[str, list[str]]:
        """Facts that a sound sandbox was said to break."""
        return {name: sorted(each.checks_by_fact) for name, each in self.sound.items() if each.checks_by_fact}

    @property
    def trouble(self) -> dict[str, str]:
        """What came to no verdict, and why."""
        of_faults = {each.fault: each.trouble for each in self.faults if each.trouble}
        return of_faults | {name: each.trouble for name, each in self.sound.items() if each.trouble}


def check(*options: str, python_path: str = "") -> Checked:
    """Run one check as a user does; with the modules of a folder in place of others of their names."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "knouds_harness", "check", "--runs-folder", folder, *options]
        paths = python_path, os.environ.get("PYTHONPATH")
        start = time.perf_counter()
        try:
            ended = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=LONGEST_CHECK_S,
                check=False,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        except subprocess.TimeoutExpired:
            return Checked(wall_s=time.perf_counter() - start, checks_by_fact={}, trouble=TOO_LONG)
        wall_s = time.perf_counter() - start
        last_line = (ended.stderr.strip() or "no record").splitlines()[-1]
        try:
            (record,) = (read_run(each) for each in Path(folder).iterdir())
        except (HarnessError, ValueError):
            return Checked(wall_s=wall_s, checks_by_fact={}, trouble=last_line)
    checks_by_fact: dict[str, list[str]] = {}
    for finding in record.findings:
        if finding.verdict in FAILING and finding.check not in checks_by_fact.setdefault(finding.fact, []):
            checks_by_fact[finding.fact].append(finding.check)
    expected = ExitCode.BREACH if checks_by_fact else ExitCode.KEPT
    trouble = "" if ended.returncode == expected else record.note or f"exit code {ended.returncode}"
    return Checked(wall_s=wall_s, checks_by_fact=checks_by_fact, trouble=trouble)


def judge(fault: Fault) -> Judged:
    """Check a sandbox with one fault: quickly until something shows, quickly to the end, and in full."""
    wall_s = 0.0
    for depth in (("--quick", "--fail-fast"), ("--quick",), ()):
        outcome = check(*depth, "--fault", fault.id, "--seed", str(SEED))
        wall_s += outcome.wall_s
        if fault.fact in outcome.checks_by_fact:
            break
    caught_by = outcome.checks_by_fact.get(fault.fact, ())
    return Judged(
        fault=fault.id,
        fact=fault.fact,
        is_subtle=fault.is_subtle,
        caught_by=caught_by,
        caught_in=("quick" if depth else "full") if caught_by else "",
        wall_s=round(wall_s, 1),
        also_broken=sorted(set(outcome.checks_by_fact) - {fault.fact}),
        trouble=outcome.trouble,
    )


def in_parallel(
    work: Mapping[str, Work], *, do: Callable[[Work], Outcome], show: Callable[[Outcome], str], jobs: int
) -> list[Outcome]:
    """Do all work by name, so much at a time, with a line for each as it is done; outcomes in its order."""
    with ThreadPoolExecutor(max_workers=jobs) as workers:
        names = {workers.submit(do, each): name for name, each in work.items()}
        for number, done in enumerate(as_completed(names), 1):
            print(f"[{number:>3}/{len(names)}] {names[done]}: {show(done.result())}", flush=True)
        return [each.result() for each in names]


def show_judged(judged: Judged) -> str:
    """One fault in half a line."""
    caught = f"caught ({judged.caught_in})" if judged.caught_by else "MISSED"
    return f"{caught}, {judged.wall_s} s{f', {judged.trouble}' if judged.trouble else ''}"


def show_healthy(checked: Checked) -> str:
    """A sound sandbox in half a line."""
    accused = ", ".join(sorted(checked.checks_by_fact))
    return (f"ACCUSED of {accused}" if accused else "kept") + (checked.trouble and f", {checked.trouble}")


def chosen_faults(ids: Sequence[str], *, sample: int | None) -> list[Fault]:
    """The faults asked for; a sample is the same each time, as long as the faults are."""
    faults = check_faults(ids) or FAULTS
    return (
        random.Random(SEED).sample(faults, min(sample, len(faults))) if sample is not None else list(faults)
    )


def print_score(score: Score) -> None:
    """Fault to the checks that caught it, then how many were, then what went wrong."""
    width = max((len(each.fault) for each in score.faults), default=0)
    print(f"\n{'fault':{width}}  subtle  caught  time      by")
    for each in score.faults:
        shown = f"{'yes' if each.is_subtle else '':6}  {each.caught_in or 'MISSED':6}  {each.wall_s:6.1f} s"
        print(f"{each.fault:{width}}  {shown}  {', '.join(each.caught_by)}")
    subtle = [each for each in score.faults if each.is_subtle]
    quick = sum(each.caught_in == "quick" for each in score.faults)
    print(
        f"\n{len(score.faults) - len(score.missed)} of {len(score.faults)} faults caught, {quick} by --quick;"
        f" of {len(subtle)} subtle ones {sum(bool(each.caught_by) for each in subtle)}."
        f"\n{len(score.accused)} false alarms in {len(score.sound)} checks of sound sandboxes."
        f"\n{score.wall_s / 60:.1f} minutes, {score.faults_wall_s / 60:.1f} of them for the faults;"
        f" {score.cpu_s / 60:.1f} minutes of processor time on {score.cores} cores, {score.jobs} at a time;"
        f" knouds-harness {score.version}."
    )
    for name, facts in score.accused.items():
        print(f"false alarm: {name}: {', '.join(facts)}")
    for name, why in score.trouble.items():
        print(f"no verdict: {name}: {why}")
    for name in score.missed:
        print(f"missed: knouds-harness check --fault {name} --seed {SEED}")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Which faults a check catches.")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="ID", help="only this one; repeatable"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="so many faults, always the same ones")
    parser.add_argument(
        "--seeds", type=int, default=50, metavar="N", help="of healthy sandboxes (default: 50)"
    )
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), metavar="N", help="at a time")
    parser.add_argument("--output", type=Path, default=Path("reports/mutation.json"), metavar="FILE")
    options = parser.parse_args()
    try:
        faults = chosen_faults(options.fault, sample=options.sample)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    start = time.perf_counter()
    judged = in_parallel({fault.id: fault for fault in faults}, do=judge, show=show_judged, jobs=options.jobs)
    faults_s = time.perf_counter() - start
    sound: dict[str, tuple[str, ...]] = {
        f"seed {seed}": ("--quick", "--seed", str(seed)) for seed in range(options.seeds)
    }
    if not options.fault and options.sample is None:
        sound |= {f"legal {seed}": ("--legal", str(seed)) for seed in range(_LEGAL_SEEDS)}
    healthy = in_parallel(sound, do=lambda each: check(*each), show=show_healthy, jobs=options.jobs)
    score = Score(
        version=version("knouds-harness"),
        jobs=options.jobs,
        cores=os.cpu_count() or 1,
        wall_s=round(time.perf_counter() - start, 1),
        faults_wall_s=round(faults_s, 1),
        cpu_s=round(sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]), 1),
        faults=judged,
        sound=dict(zip(sound, healthy, strict=True)),
    )
    print_score(score)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(asdict(score), indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")
    return 1 if score.missed or score.accused or score.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
