"""What does keeping workflows cost: create, update, get, move, delete?

Workload: each task makes a workflow of its own, changes, reads, moves and deletes it; open (``--rate``
counts workflows, each five requests) or closed. Costs no credits, and leaves nothing behind unless it is
killed. Needs keys with ``workflow:read`` and ``workflow:write``, or two keys of one account.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import workflow_crud

install(events)


class WorkflowCrud(ScenarioUser):
    """Somebody who edits."""

    wait_time = between(0.5, 2)
    tasks = [workflow_crud]
