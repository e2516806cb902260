"""Two targets loaded in turn, so that other work of the machine disturbs both alike."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.launching import Launched, launch, scenario_file
from knouds_harness.reporting.load.live import LiveView
from knouds_harness.targets.builtin import open_target, target_environment

_GOES_ON_AFTER: Final = (ExitCode.KEPT, ExitCode.BREACH, ExitCode.INVALID_MEASUREMENT)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One side that is loaded."""

    name: str
    target: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What came of the rounds."""

    folders: dict[str, list[Path]]
    exit_code: int
    note: str = ""


def run_in_turn(
    contenders: Sequence[Contender],
    *,
    scenario: str,
    rounds: int,
    seed: int,
    options: Sequence[str],
    runs_folder: Path,
    command: str,
    console: Console,
) -> Rounds:
    """Load each contender once a round, in an order that is drawn anew.

    A run whose generator was the limit is run once more.


    Raises:
        HarnessError: The scenario, or the target of any side, is not usable; nothing has been loaded then.
    """
    file = scenario_file(scenario)
    for contender in contenders:
        with open_target(contender.target, faults=contender.faults):
            pass  # or it would fail only after another side was loaded
    chance = random.Random(seed)
    folders: dict[str, list[Path]] = {each.name: [] for each in contenders}

    def load(contender: Contender, title: str, round_seed: int) -> Launched:
        console.print(title, markup=False, highlight=False, soft_wrap=True)
        with (
            target_environment(contender.target, faults=contender.faults) as variables,
            LiveView(console, title=title) as live,
        ):
            return launch(
                file,
                runs_folder=runs_folder,
                options=["--target", contender.target, "--seed", str(round_seed), *options],
                variables=variables,
                command=command,
                on_progress=live.show,
            )

    for number in range(1, rounds + 1):
        round_seed = chance.randrange(2**31)
        for contender in chance.sample(contenders, len(contenders)):
            title = f"round {number} of {rounds}, {contender.name}: {file.stem} on {contender.target}"
            launched = load(contender, title, round_seed)
            if launched.exit_code == ExitCode.INVALID_MEASUREMENT and not launched.was_interrupted:
                again = f"{title}, once more: the generator was the limit"
                launched = load(contender, again, round_seed)
            if launched.exit_code not in _GOES_ON_AFTER or launched.folder is None:
                return Rounds(folders=folders, exit_code=launched.exit_code, note=launched.note)
            folders[contender.name].append(launched.folder)
            if launched.was_interrupted:
                return Rounds(folders=folders, exit_code=ExitCode.INTERRUPTED)
    return Rounds(folders=folders, exit_code=ExitCode.KEPT)
