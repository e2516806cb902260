"""Rounds of loads on several sides, and how they end."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from knouds_harness.commands.compare import compare
from knouds_harness.errors import ExitCode
from knouds_harness.load.generator import launching
from knouds_harness.load.generator.launching import Launched
from knouds_harness.targets import builtin


@pytest.mark.parametrize("exit_code", [ExitCode.KEPT, ExitCode.INVALID_MEASUREMENT])
def test_interruption_after_a_load_ends_the_rounds(monkeypatch, tmp_path, exit_code):
    """The finished run is kept, even if it measured nothing valid, and no other one begins."""
    launches = []

    def launch(_: Path, **options: object) -> Launched:
        launches.append(options)
        is_third = len(launches) == 3
        return Launched(
            exit_code=exit_code if is_third else ExitCode.KEPT, folder=tmp_path, was_interrupted=is_third
        )

    monkeypatch.setattr(launching, "launch", launch)
    for name in ("open_target", "target_environment"):
        monkeypatch.setattr(builtin, name, lambda *_, **__: nullcontext({}))
    arguments = ["--repeat", "5", "--scenario", "reads", "--runs-folder", str(tmp_path)]

    ended = CliRunner().invoke(compare, arguments)

    assert ended.exit_code == ExitCode.INTERRUPTED
    assert f"The runs so far are kept in {tmp_path}." in ended.stderr
    assert len(launches) == 3
