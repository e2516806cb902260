"""How does the server carry what a real integrator does, all of it at once?

Workload: mostly synchronous runs, some asynchronous ones followed to their end, reads in between, now and
then a cancelled run or an edited workflow; open (``--rate`` counts tasks) or closed. Costs at most the price
of each run that is sent or submitted. Needs keys, whatever they hold: a task of the mix that none of them can
do is left out, and the run says which and why. All of it takes everything but ``webhook:receive``.
"""

from locust import between, events

from knouds_harness.load.plugin import install
from knouds_harness.load.scenario import ScenarioUser
from knouds_harness.load.tasks import (
    cancel_run,
    follow_run,
    list_usage,
    list_workflows,
    read_schema,
    run_model,
    run_workflow,
    who_am_i,
    workflow_crud,
)

install(events)


class Mixed(ScenarioUser):
    """An integrator on an ordinary day."""

    wait_time = between(0.5, 2)
    tasks = {
        run_workflow: 40,
        run_model: 10,
        follow_run: 15,
        cancel_run: 1,
        who_am_i: 10,
        list_workflows: 8,
        read_schema: 8,
        list_usage: 6,
        workflow_crud: 2,
    }
