"""What a load run ends with follows from its figures, and plain Locust says why."""

from __future__ import annotations

import pytest
from load_records import load_results, missed, operation, validity

from knouds_harness.errors import ExitCode
from knouds_harness.load.generator.exit_summary import exit_code_of, exit_summary
from knouds_harness.runs.load_results import TASK, Invariant

INVALID = validity(is_valid=False, reasons=("Too late.",))
BROKEN = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=1)
KEPT = Invariant(fact="async.status-edges", says="Statuses go forward.", seen=5, broken=0, excused=1)


def test_nothing_is_said_of_a_run_in_which_all_is_well():
    """Locust's own summary is enough."""
    assert list(exit_summary(load_results())) == []


def test_reasons_of_every_kind_are_said():
    """Why it ended early, what speaks against the generator, which objectives were missed."""
    results = load_results(
        note="Ended early.",
        operations=(operation("whoami", requests=7, refused=7),),
        validity=validity(is_valid=False, reasons=("Too late.",)),
        objectives=(missed(),),
    )

    assert list(exit_summary(results)) == [
        "Ended early.",
        "nothing kept: whoami, of 7 requests",
        "not a valid measurement: Too late.",
        "objective missed: whoami p99_ms 9, bound 5",
    ]


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
        pytest.param(
            load_results(operations=(operation(), operation("runModel", requests=7, refused=7))),
            ExitCode.BREACH,
            id="an operation was refused throughout",
        ),
        pytest.param(
            load_results(operations=(operation(requests=7, throttled=7),), validity=INVALID),
            ExitCode.BREACH,
            id="everything was throttled",
        ),
        pytest.param(
            load_results(operations=(operation(), operation(f"{TASK}look", requests=1, failed=1))),
            ExitCode.BREACH,
            id="a task raised an exception",
        ),
        pytest.param(
            load_results(operations=(operation(requests=7, refused=6),)),
            ExitCode.KEPT,
            id="something was kept",
        ),
    ],
)
def test_exit_code_follows_from_the_figures(results, exit_code):
    """A generator that was late says nothing of objectives; what is broken, or never came, stays so."""
    assert exit_code_of(results, was_interrupted=False) == exit_code


def test_interruption_comes_before_everything():
    """Half a run has no verdict."""
    assert exit_code_of(load_results(objectives=(missed(),)), was_interrupted=True) == ExitCode.INTERRUPTED
