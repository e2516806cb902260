"""Rounds of loads on several sides, and how they end."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from knouds_harness.commands import alternating_runs
from knouds_harness.commands.alternating_runs import Contender, run_in_turn
from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.launching import Launched


@pytest.mark.parametrize("exit_code", [ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT])
def test_interruption_after_a_load_ends_the_rounds(monkeypatch, tmp_path, exit_code):
    """The run is whole and stays, also if it measured nothing valid; there is no next one."""
    launches = []

    def launch(_: Path, **options: object) -> Launched:
        launches.append(options)
        is_third = len(launches) == 3
        return Launched(
            exit_code=exit_code if is_third else ExitCode.KEPT, folder=tmp_path, was_interrupted=is_third
        )

    monkeypatch.setattr(alternating_runs, "launch", launch)
    for name in ("open_target", "target_environment"):
        monkeypatch.setattr(alternating_runs, name, lambda *_, **__: nullcontext({}))

    rounds = run_in_turn(
        [Contender(name="baseline", target="blue"), Contender(name="candidate", target="green")],
        scenario="reads",
        rounds=5,
        seed=1,
        options=[],
        runs_folder=tmp_path,
        command="",
        console=Console(quiet=True),
    )

    assert rounds.exit_code == ExitCode.INTERRUPTED
    assert sum(len(each) for each in rounds.folders.values()) == len(launches) == 3
