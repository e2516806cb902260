"""Options of a run of the suite, for ``knouds-harness check`` and the pytest plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from knouds_harness.option_declarations import FiniteRange, draw_seed, option
from knouds_harness.targets.builtin import SandboxOptions

if TYPE_CHECKING:
    from knouds_harness.runs.run_file import RunSetup

_EXAMPLES: Final = 20
_QUICK_EXAMPLES: Final = 3


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    target: str = option("Profile in targets/", default="sandbox", metavar="NAME")
    families: tuple[str, ...] = option(
        "Run only this family of checks (repeatable)", flag="--family", default=(), metavar="NAME"
    )
    operations: tuple[str, ...] = option(
        "Run only checks of this operationId (repeatable)", flag="--operation", default=(), metavar="ID"
    )
    facts: tuple[str, ...] = option(
        "Run only checks of this fact (repeatable)", flag="--fact", default=(), metavar="ID"
    )
    seed: int = option("Repeat the run that printed this seed", default_factory=draw_seed, metavar="N")
    examples: int | None = option(
        "Generated inputs per property",
        type=click.IntRange(1),
        metavar="N",
        default_text=f"{_EXAMPLES}, or {_QUICK_EXAMPLES} with --quick",
    )
    quick: bool = option("Test every fact with fewer inputs and samples", default=False)
    credits: float | None = option(
        "Most credits to spend", type=FiniteRange(0), metavar="N", default_text="the profile's limit"
    )
    rotate: Path | None = option(
        "Pay first for what was not verified for longest by this file, and update it", metavar="FILE"
    )
    alarm_after: int = option(
        "With --rotate: fail only when a fact is in breach in so many nights in a row",
        type=click.IntRange(1),
        default=1,
        metavar="N",
    )
    strict: bool = option(
        "Fail the run also when an assumption does not hold",
        default=False,
        runner_flag="--strict-assumptions",  # pytest has a --strict of its own
    )
    min_verified: str | None = option(
        "Fail when fewer facts are verified: a number, or a share such as 65%", metavar="N"
    )
    allow_short: bool = option("Do not fail a run whose credits end before its tests do", default=False)
    checks: Path | None = option("Python file with checks of your own", metavar="FILE")
    fail_fast: bool = option(
        "Stop at the first failed test", default=False, runner_flag="-x", in_runner=False
    )
    faults: tuple[str, ...] = option(
        "Break this promise of the built-in sandbox: sandbox --list-faults (repeatable)",
        flag="--fault",
        default=(),
        metavar="ID",
    )
    legal: str | None = option(
        "Have the sandbox decide by this seed what no documentation says", metavar="SEED"
    )
    between: str | None = option(
        "Put an intermediary in front of the sandbox, drawn from this seed", metavar="SEED"
    )
    plan_only: bool = option("Print the plan and its cost, and send nothing", default=False, in_runner=False)
    yes_production: bool = option("Allow a profile with production = true", default=False)
    runs_folder: Path = option("Folder for run records", default=Path("reports/runs"), metavar="DIR")

    @property
    def of_sandbox(self) -> SandboxOptions:
        return {"seed": self.seed, "faults": self.faults, "legal": self.legal, "between": self.between}

    @property
    def examples_per_property(self) -> int:
        if self.examples is not None:
            return self.examples
        return _QUICK_EXAMPLES if self.quick else _EXAMPLES


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """How findings are replayed; the built-in sandbox starts as in the run, unless another way is given."""

    target: str | None = option("Profile in targets/", metavar="NAME", default_text="the run's own")
    faults: tuple[str, ...] = option(
        "Break this promise of the sandbox, not those of the run", flag="--fault", default=(), metavar="ID"
    )
    healthy: bool = option("Start the sandbox without the run's faults", default=False)
    every_finding: bool = option(
        "Replay also findings that do not fail the run, except drift", flag="--all", default=False
    )
    legal: str | None = option("Seed of the sandbox's choices", metavar="SEED", default_text="the run's own")
    between: str | None = option(
        "Seed of the intermediary in front of it", metavar="SEED", default_text="the run's own"
    )
    yes_production: bool = option("Allow a profile with production = true", default=False)

    def of_sandbox(self, setup: RunSetup) -> SandboxOptions:
        return {
            "seed": setup.seed,
            "faults": self.faults if self.faults or self.healthy else tuple(setup.faults),
            "legal": self.legal or setup.legal,
            "between": self.between or setup.between,
        }
