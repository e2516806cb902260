"""What a load run ends with follows from its figures."""

from __future__ import annotations

import pytest
from load_results import load_results, missed, validity

from knouds_harness.errors import ExitCode
from knouds_harness.load.leader import exit_code_of
from knouds_harness.runs.load_results import Invariant

INVALID = validity(is_valid=False, reasons=("Too late.",))
BROKEN = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=1)
KEPT = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=0, excused=1)


@pytest.mark.parametrize(
    ("results", "exit_code"),
    [
        pytest.param(load_results(), ExitCode.KEPT, id="all is well"),
        pytest.param(load_results(objectives=(missed(),)), ExitCode.BREACH, id="missed"),
        pytest.param(load_results(validity=INVALID), ExitCode.INVALID_MEASUREMENT, id="invalid"),
        pytest.param(
            load_results(validity=INVALID, objectives=(missed(),)),
            ExitCode.INVALID_MEASUREMENT,
            id="invalid and missed",
        ),
        pytest.param(load_results(invariants=(BROKEN,)), ExitCode.BREACH, id="broken"),
        pytest.param(
            load_results(validity=INVALID, invariants=(BROKEN,)), ExitCode.BREACH, id="invalid and broken"
        ),
        pytest.param(load_results(invariants=(KEPT,)), ExitCode.KEPT, id="excused"),
    ],
)
def test_exit_code_follows_from_the_figures(results, exit_code):
    """A generator that was late says nothing of objectives, and a broken promise stays one."""
    assert exit_code_of(results, was_interrupted=False) == exit_code


def test_interruption_comes_before_everything():
    """Half a run has no verdict."""
    assert exit_code_of(load_results(objectives=(missed(),)), was_interrupted=True) == ExitCode.INTERRUPTED
