"""The end of a run says what it leaves on the target."""

from types import SimpleNamespace
from typing import Any

from knouds_harness.suite.session import ConformanceRun


def test_workflows_that_stay_for_one_reason_share_a_line():
    left = (*(f"w-{number}: nothing listens" for number in range(73)), "mine: it is now named: Other")
    run: Any = SimpleNamespace(
        client=SimpleNamespace(remove_left=lambda **_: SimpleNamespace(left=left)),
        recorder=SimpleNamespace(writer=SimpleNamespace(folder="runs/a")),
    )

    ConformanceRun._clean_up(run, is_urgent=False)  # noqa: SLF001 - a whole run would need a target

    assert len(run.left) == 3
    assert "knouds-harness cleanup runs/a" in run.left[0]
    assert run.left[1].endswith("w-9 and 63 more: nothing listens")
    assert run.left[2] == "  mine: it is now named: Other"
