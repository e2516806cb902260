"""How long does one model take? What ``benchmarks/comparison/collect.py`` measures over and over.

Workload: runs of ``claude-sonnet``, open, three credits each. One operation and one distribution, so that a
server with another time scale is slower by just that factor.
"""

from __future__ import annotations

from typing import Final

from locust import events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.workload.workload import takes
from knouds_harness.targets.needs.runs import MODEL_CALL, cheapest

install(events)


_CHEAPEST: Final = cheapest(MODEL_CALL)


@takes(_CHEAPEST)
def run_it(user: ScenarioUser) -> None:
    """Run the cheapest model, which answers in one time, and wait for the result."""
    user.send_run(user.choose(_CHEAPEST))


class OneModel(ScenarioUser):
    """Runs one model, and waits for the result."""

    tasks = [run_it]  # noqa: RUF012 - as Locust has it
