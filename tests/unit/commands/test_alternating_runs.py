"""Rounds of loads on several sides, and how they end."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from knouds_harness.commands import alternating_runs
from knouds_harness.commands.alternating_runs import Contender, run_in_turn
from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.launching import Launched


def test_interruption_after_a_load_ends_the_rounds(monkeypatch, tmp_path):
    """The run is whole and stays; there is no next one."""
    launches = []

    def launch(_: Path, **options: object) -> Launched:
        launches.append(options)
        return Launched(exit_code=ExitCode.KEPT, folder=tmp_path, was_interrupted=len(launches) == 3)

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
