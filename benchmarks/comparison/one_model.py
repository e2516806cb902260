"""How long does one model take? What ``benchmarks/comparison/collect.py`` measures over and over.

Workload: runs of ``claude-sonnet``, open, three credits each. One operation and one distribution, so that a
server with another time scale is slower by just that factor.
"""

from __future__ import annotations

from locust import events, task

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)


class OneModel(ScenarioUser):
    """Runs one model, and waits for the result."""

    needs = ("model:run",)

    @task
    def run_it(self) -> None:
        """Run it."""
        self.send_run(next(each for each in self.part.models() if "claude-sonnet" in each.path))
