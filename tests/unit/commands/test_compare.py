"""Rounds of loads on several sides, and how they end."""

from contextlib import nullcontext

import pytest
from click.testing import CliRunner
from load_records import load_run

from knouds_harness.commands.compare import compare
from knouds_harness.errors import ExitCode
from knouds_harness.load.generator import launching
from knouds_harness.load.generator.launching import Launched
from knouds_harness.targets import builtin

SECONDS = [[1.0, 2.0, 3.0]] * 3


@pytest.fixture
def rounds(monkeypatch, tmp_path):
    """Make a comparison of rounds whose loads end as told, with the run folder and whether interrupted."""

    def compared(launched, *, number):
        launches = []

        def launch(command: object, *_: object, **__: object) -> Launched:
            launches.append(command)
            ended: Launched = launched(len(launches))
            return ended

        monkeypatch.setattr(launching, "launch", launch)
        for name in ("open_target", "target_environment"):
            monkeypatch.setattr(builtin, name, lambda *_, **__: nullcontext(dict))
        arguments = ["--repeat", str(number), "--scenario", "reads", "--runs-folder", str(tmp_path)]
        return CliRunner().invoke(compare, arguments), len(launches)

    return compared


@pytest.mark.parametrize("exit_code", [ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT])
def test_interruption_after_a_load_ends_the_rounds(rounds, tmp_path, exit_code):
    """The finished run is kept, even if it measured nothing valid, and no other one begins."""
    folder = load_run(tmp_path, {"whoami": SECONDS})

    ended, count = rounds(
        lambda number: Launched(
            exit_code=exit_code if number == 3 else ExitCode.KEPT, folder=folder, was_interrupted=number == 3
        ),
        number=5,
    )

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert f"The runs so far are kept in {tmp_path}." in ended.stderr
    assert count == 3


def test_round_that_cannot_be_compared_is_told_at_once_and_repeated_once(rounds, tmp_path):
    """Whatever its exit code: one that measured nothing may have missed nothing."""
    sound = load_run(tmp_path / "a", {"whoami": SECONDS})
    empty = load_run(tmp_path / "b", {}, operations=())

    ended, count = rounds(
        lambda number: Launched(exit_code=ExitCode.KEPT, folder=sound if number > 2 else empty), number=2
    )

    first, *later = [line for line in ended.stderr.splitlines() if line.startswith(("warning", "round"))]
    assert first.startswith("round 1 of 2")
    assert later[0].startswith("warning: this run cannot be compared: ")
    assert later[0].endswith("Nothing was measured.")
    assert later[1].endswith(", once more")
    assert later[3].startswith("round 1 of 2")
    assert count == 5
