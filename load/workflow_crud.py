"""What does keeping workflows cost: create, get, update, move, delete?

Workload: each task makes a workflow of its own, reads, changes, moves and deletes it; open (``--rate``
counts workflows, each five requests) or closed. Costs no credits, and leaves nothing behind unless it is
killed. Needs keys that hold ``workflow:read`` and ``workflow:write``.
"""

from locust import between, events

from knouds_harness.load.journeys import keep_house
from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser

install(events)


class WorkflowCrud(ScenarioUser):
    """Somebody who edits."""

    needs = ("workflow:read", "workflow:write")
    wait_time = between(0.5, 2)
    tasks = [keep_house]
